"""What only the person may do stays closed to an administrator who is signed in as the person."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import func, select

from blueprints.http.access import Rule, anyone, even_impersonated, fresh, signed_in
from models import User, UserSession, db
from models.api_key import ApiKey
from models.base import now
from services import own_data
from services.principal import Principal
from tests.clients import Answer, Api, PageClient
from tests.factories import Person, make_person
from tests.integration.pages.admin.acting import REASON, impersonations, sign_in_as, stop, who_is
from tests.state import unchanged

#: Everything an administrator may use who is signed in as somebody else. A new page is not among them: it stays closed
#: until somebody has thought about it, and written it down here.
OPEN = {
    "account.history",
    "account.picture",
    "account.profile",
    "account.remove_picture",
    "admin.index",
    "admin_audit.index",
    "impersonation.stop",
    "admin_outbox.index",
    "admin_roles.index",
    "admin_roles.matrix",
    "admin_system.index",
    "admin_users.index",
    "admin_users.show",
    "auth.logout",
    "auth.profile",
    "docs.asset",
    "docs.document",
    "docs.problem",
    "docs.problems",
    "docs.reader",
    "health.blueprints",
    "health.database",
    "health.detailed",
    "health.health",
    "health.ready",
    "main.dashboard",
    "main.home",
    "media.show",
    "well_known.change_password",
    "well_known.jwks",
    "well_known.security_txt",
}
#: What the person has for himself alone.
PERSONAL = ("security.", "api_keys.", "own_data.", "oidc.")
PERSONAL_PAGES = {
    "account.email",
    "account.password",
    "account.security",
    "account.devices",
    "account.end_device",
    "account.end_other_devices",
    "auth.reauthenticate",
    "auth.reauthentication_options",
    "auth.reset_password",
    "auth.confirm_email",
    "auth.login",
    "admin_impersonation.start",
}
PROGRAM = {"Accept": "application/json"}


def view_rule(app: Flask, endpoint: str) -> Rule:
    view: Any = app.view_functions[endpoint]
    found: Rule = view.access
    return found


def rules(app: Flask) -> dict[str, Rule]:
    """Endpoint → its rule, for every page; the API takes no cookie."""
    return {
        rule.endpoint: view_rule(app, rule.endpoint)
        for rule in app.url_map.iter_rules()
        if (rule.endpoint != "static" and not rule.endpoint.startswith("api_"))
        or rule.endpoint.startswith("api_keys.")
    }


def closed(app: Flask) -> Iterator[tuple[str, str]]:
    """Method and address of every page that is closed."""
    known = rules(app)
    values = {"UUIDConverter": uuid4(), "IdConverter": 1, "UnicodeConverter": "NOT_FOUND"}
    for rule in app.url_map.iter_rules():
        if rule.endpoint not in known or known[rule.endpoint].even_impersonated:
            continue
        if rule.endpoint.startswith("dev."):
            continue  # not there but in development
        parts = {name: values[type(converter).__name__] for name, converter in rule._converters.items()}
        address = app.url_map.bind("localhost").build(rule.endpoint, parts)
        yield from ((method, address) for method in (rule.methods or set()) & {"GET", "POST"})


@pytest.fixture
def acting(client: PageClient, ada: Person, bob: Person) -> PageClient:
    """Ada's browser, signed in as Bob."""
    client.sign_in(ada)
    sign_in_as(client, bob)
    assert who_is(client) == bob.email
    return client


def test_what_is_open_is_written_down(shared_app: Flask) -> None:
    assert {name for name, rule in rules(shared_app).items() if rule.even_impersonated} == OPEN


def test_nothing_of_the_persons_own_is_open(shared_app: Flask) -> None:
    known = rules(shared_app)
    personal = {name for name in known if name.startswith(PERSONAL)} | PERSONAL_PAGES
    assert len(personal) > 30
    assert not {name for name in personal if known[name].even_impersonated}
    assert not {name for name, rule in known.items() if rule.is_fresh and rule.even_impersonated}


def test_what_asks_who_somebody_is_can_not_be_opened() -> None:
    with pytest.raises(ValueError, match="asks who somebody is"):
        fresh(even_impersonated(signed_in))
    with pytest.raises(ValueError, match="asks who somebody is"):
        even_impersonated(fresh(signed_in))


def test_every_closed_page_refuses_and_changes_nothing(app: Flask, acting: PageClient, bob: Person) -> None:
    token = acting.token("/account/profile")
    tried = 0
    with unchanged(app):
        for method, address in closed(app):
            sent = {"csrf_token": token} if method == "POST" else None
            answer = acting.open(address, method=method, data=sent, headers=PROGRAM)
            assert answer.status_code == 403, f"{method} {address}"
            assert answer.json is not None
            assert answer.json["error"]["code"] == "IMPERSONATION_REFUSED", f"{method} {address}"
            tried += 1
    assert tried > 60
    assert who_is(acting) == bob.email


def test_people_read_why_and_find_the_way_back(acting: PageClient) -> None:
    page = acting.get("/account/password")
    assert page.status_code == 403
    assert "Only the person may do this" in page.text
    assert 'action="/impersonation/stop"' in page.text


def test_the_banner_is_on_every_page_even_on_one_that_is_not_there(acting: PageClient, bob: Person) -> None:
    for path in ("/", "/dashboard", "/account/profile", "/account/history", "/api/docs", "/problems"):
        page = acting.get(path).text
        assert f'You are signed in as <strong class="impersonation__name">{bob.name}.</strong>' in page, path
        assert "impersonation__stop" in page
    missing = acting.get("/not-there")
    assert missing.status_code == 404
    assert "impersonation__stop" in missing.text
    assert bob.name not in missing.text
    token = acting.get("/not-there").text.split('name="csrf_token" value="')[1].split('"')[0]
    assert acting.post("/impersonation/stop", data={"csrf_token": token}).location == "/admin/users/" + str(
        bob.id
    )
    assert "impersonation__stop" not in acting.get("/not-there").text


def test_the_name_in_the_banner_is_text(client: PageClient, app: Flask, ada: Person) -> None:
    client.sign_in(ada)
    sign_in_as(client, make_person(app, "<b>Bob</b> & 'Sons'"))
    assert "<b>Bob" not in client.get("/dashboard").text


def test_the_api_knows_nothing_of_it(app: Flask, acting: PageClient) -> None:
    for path in ("/api/v1/users/me", "/api/v1/users/me/sessions", "/api/v1/users/me/api-keys"):
        assert acting.get(path).status_code == 401
    assert acting.post("/api/v1/users/me/api-keys", json={"name": "x", "scopes": []}).status_code == 401
    with app.app_context():
        assert not db.session.scalar(select(func.count()).select_from(ApiKey))
        kinds = set(db.session.scalars(select(UserSession.kind)))
    assert kinds == {"browser"}


def test_it_never_counts_as_fresh(app: Flask, acting: PageClient) -> None:
    (row,) = impersonations(app)
    person = Principal(
        row.user_id, row.id, "", "", "member", frozenset(), "browser", now(), has_second_factor=False
    )
    assert person.is_fresh
    assert not replace(person, impersonator_id=row.impersonator_id).is_fresh
    assert not replace(person, authenticated_at=row.authenticated_at).is_fresh  # nor by the row alone


def test_programs_that_send_json_are_refused_too(app: Flask, acting: PageClient) -> None:
    with unchanged(app):
        answer = acting.post("/account/password", json={"current_password": "x", "new_password": "y"})
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "IMPERSONATION_REFUSED")


def test_the_code_has_a_page(client: PageClient) -> None:
    assert "Only the person may do this" in client.get("/problems/IMPERSONATION_REFUSED").text


def test_anyones_rule_refuses_too_unless_it_says_otherwise(acting: PageClient) -> None:
    assert not anyone.even_impersonated
    for path in ("/auth/login", "/auth/register", "/auth/forgot-password", "/auth/reset-password?token=x"):
        assert acting.get(path).status_code == 403, path


def test_a_copy_of_the_data_names_nobody(app: Flask, acting: PageClient, ada: Person, bob: Person) -> None:
    acting.submit("/account/profile", name="Bob C.")
    with app.app_context():
        copy = own_data.copy_of(
            db.session.get_one(User, bob.id), at=db.session.get_one(User, bob.id).created_at
        )
    events = {event["action"]: event for event in copy["audit_events"]}
    start = events["account:impersonation:start"]
    assert (start["by_you"], start["about_you"], start["details"]["reason"]) == (False, True, REASON)
    changed = events["account:update"]
    assert (changed["by_you"], changed["ip"]) == (False, None)
    assert changed["details"] == {"before": {"name": bob.name}, "after": {"name": "Bob C."}}
    (device,) = copy["sessions"]
    assert (device["device_name"], device["ip"]) == ("An administrator, signed in as you", None)
    assert ada.name not in str(copy)
    assert "impersonator" not in str(copy)


def test_the_person_ends_it_over_the_api(app: Flask, api: Api, acting: PageClient, bob: Person) -> None:
    caller = api.as_(bob)
    (row,) = impersonations(app)
    assert caller.delete(f"/users/me/sessions/{row.id}").status_code == 200
    assert who_is(acting) is None


def test_somebody_elses_stop_is_nobodys(app: Flask, acting: PageClient, charlie: Person) -> None:
    stranger = app.test_client()
    assert isinstance(stranger, PageClient)
    stranger.sign_in(charlie)
    answer: Answer = stop(stranger)
    assert answer.location == "/dashboard"
    assert len(impersonations(app)) == 1


def test_the_way_back_is_open_where_the_person_must_set_up_a_second_step(
    app: Flask, acting: PageClient, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "REQUIRE_MFA", "all")
    assert acting.get("/dashboard").location == "/account/security"
    page = acting.get("/account/security")
    assert page.status_code == 403
    token = page.text.split('name="csrf_token" value="')[1].split('"')[0]
    assert acting.post("/impersonation/stop", data={"csrf_token": token}).status_code == 303
    monkeypatch.setitem(app.config, "REQUIRE_MFA", "none")
    assert who_is(acting) == ada.email
