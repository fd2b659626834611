"""Frozen accounts: nobody gets in, nothing changes, and a password set by the mailed link opens them again."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from models import db
from models.base import now
from services.base_service import unit_of_work
from tests.authenticator import Authenticator
from tests.clients import Api, PageClient, browser
from tests.conftest import counted
from tests.factories import Person, make_person
from tests.integration.api.passkeys import owned, sign_in
from tests.integration.api.test_access import Route, routes
from tests.integration.api.test_second_factor import challenge, code_of, enrolled, verify
from tests.integration.oidc.desk import actions, column, run
from tests.integration.pages.desk import NEW_PASSWORD, is_signed_in, link_to, make_link, token_of
from tests.state import unchanged, wait_for_a_lock

SINCE = timedelta(minutes=5)


def freeze(app: Flask, person: Person) -> None:
    """The mark alone: the sessions stay, as for whoever was half-way through something."""
    run(app, "UPDATE users SET frozen_at = :then WHERE id = :id", then=now() - SINCE, id=person.id)


def log_in(api: Api, person: Person, password: str | None = None) -> Any:
    return api.post("/auth/login", {"email": person.email, "password": password or person.password})


# ----------------------------------------------------------------------------------------------- no way in


def test_the_right_password_is_answered_like_a_wrong_one(api: Api, alice: Person, bob: Person) -> None:
    freeze(api.app, alice)
    right, wrong = log_in(api, alice), log_in(api, bob, "copper violin wrong")
    assert right.status_code == wrong.status_code == 401
    for answer in (right, wrong):
        assert answer.json["error"]["code"] == "INVALID_CREDENTIALS"
    assert right.json["error"]["message"] == wrong.json["error"]["message"]
    page = browser(api.app)
    assert page.sign_in(alice).status_code == 401
    assert not is_signed_in(page)


@pytest.mark.usefixtures("early_in_a_step")
def test_a_second_step_half_done_does_not_finish(api: Api, alice: Person) -> None:
    secret, codes = enrolled(api, alice)
    token = challenge(api, alice)
    freeze(api.app, alice)
    assert log_in(api, alice).status_code == 401
    assert verify(api, token, code=code_of(secret)).status_code == 401
    assert verify(api, token, recovery_code=codes[0]).status_code == 401


def test_a_passkey_does_not_open_it(api: Api, alice: Person) -> None:
    device = owned(api, alice)
    assert sign_in(api, device).status_code == 200
    freeze(api.app, alice)
    refused, unknown = sign_in(api, device), sign_in(api, Authenticator())
    assert refused.status_code == unknown.status_code == 401
    assert refused.json["error"]["message"] == unknown.json["error"]["message"]


def test_who_was_signing_in_while_it_was_frozen_is_refused(real_app: Flask) -> None:
    alice, answers = make_person(real_app, "Alice"), []
    signing_in = threading.Thread(target=lambda: answers.append(log_in(Api(real_app), alice)))
    with real_app.app_context(), unit_of_work():
        db.session.execute(text("UPDATE users SET frozen_at = now() WHERE id = :id"), {"id": alice.id})
        signing_in.start()
        wait_for_a_lock()
    signing_in.join(timeout=10)
    assert [answer.json["error"]["code"] for answer in answers] == ["INVALID_CREDENTIALS"]
    with real_app.app_context():
        assert db.session.execute(text("SELECT count(*) FROM sessions")).scalar() == 0


# ------------------------------------------------------------------------------------------- nothing changes


def open_to_it(route: Route) -> bool:
    """Reading what is not sensitive, and the way out."""
    return not route.access.is_shut(route.method)


def test_every_route_that_changes_or_shows_what_is_sensitive_is_shut(app: Flask, ada: Person) -> None:
    caller = Api(app).as_(ada)
    freeze(app, ada)
    shut = [route for route in routes(app) if not open_to_it(route)]
    for route in shut:
        path = route.path(ada)
        with unchanged(app):
            answer = caller.call(route.method, path, json=route.body)
        assert answer.status_code == 403, (route.method, path)
        assert answer.json["error"]["code"] == "ACCOUNT_FROZEN", (route.method, path)
    assert {(route.method, route.pattern) for route in shut} >= {
        ("POST", "/users/me/password"),
        ("POST", "/users/me/email"),
        ("POST", "/users/me/totp"),
        ("POST", "/users/me/totp/confirm"),
        ("DELETE", "/users/me/totp"),
        ("POST", "/users/me/recovery-codes"),
        ("POST", "/users/me/passkeys"),
        ("POST", "/users/me/api-keys"),
        ("POST", "/users/me/export"),
        ("GET", "/users/me/export/file"),
        ("DELETE", "/users/me"),
    }


def test_reading_and_signing_out_stay_possible(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    freeze(api.app, alice)
    assert caller.get("/users/me").status_code == 200
    assert caller.post("/auth/logout").status_code == 200
    assert caller.get("/users/me").status_code == 401


def test_a_page_says_so_and_leads_to_the_reset(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    csrf = client.token("/account/password")
    freeze(app, alice)
    fields = {"csrf_token": csrf, "current_password": alice.password, "new_password": NEW_PASSWORD}
    with unchanged(app):
        answer = client.post("/account/password", data=fields)
    assert answer.status_code == 403
    assert "Your account is frozen" in answer.text
    assert 'href="/auth/forgot-password"' in answer.text
    assert client.get("/account/api-keys").status_code == 403


def test_the_mark_costs_no_statement(app: Flask, api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    caller.get("/users/me")
    with counted() as statements:
        caller.get("/users/me")
    assert len(statements) == 2, statements


def test_what_waited_while_the_account_was_frozen_is_refused(real_app: Flask) -> None:
    alice = make_person(real_app, "Alice")
    caller, answers = Api(real_app).as_(alice), []
    body = {"current_password": alice.password, "new_password": NEW_PASSWORD}
    waiting = threading.Thread(target=lambda: answers.append(caller.post("/users/me/password", body)))
    with real_app.app_context(), unit_of_work():
        db.session.execute(text("UPDATE users SET frozen_at = now() WHERE id = :id"), {"id": alice.id})
        waiting.start()
        wait_for_a_lock()
    waiting.join(timeout=10)
    assert [answer.status_code for answer in answers] == [403]
    assert answers[0].json["error"]["code"] == "ACCOUNT_FROZEN"
    assert log_in(Api(real_app), alice, NEW_PASSWORD).status_code == 401


# ------------------------------------------------------------------------------------------------ open again


def test_a_password_set_by_the_mailed_link_opens_it(api: Api, alice: Person) -> None:
    freeze(api.app, alice)
    assert api.post("/auth/password/forgot", {"email": alice.email}).status_code == 202
    token = token_of(link_to(api.app, alice.email, "/auth/reset-password"))
    answer = api.post("/auth/password/reset", {"token": token, "password": NEW_PASSWORD})
    assert answer.status_code == 200
    assert column(api.app, alice.id, "frozen_at") is None
    assert "account:unfreeze" in actions(api.app)
    assert log_in(api, alice, NEW_PASSWORD).status_code == 200
    assert log_in(api, alice).status_code == 401


def test_a_refused_password_leaves_it_frozen(api: Api, alice: Person) -> None:
    token = make_link(api.app, alice, "reset")
    freeze(api.app, alice)
    assert api.post("/auth/password/reset", {"token": token, "password": "short"}).status_code == 422
    assert column(api.app, alice.id, "frozen_at") is not None


def test_an_ordinary_reset_records_no_opening(api: Api, alice: Person) -> None:
    token = make_link(api.app, alice, "reset")
    assert api.post("/auth/password/reset", {"token": token, "password": NEW_PASSWORD}).status_code == 200
    assert "account:unfreeze" not in actions(api.app)


# ------------------------------------------------------------------------------------------- administrators


def test_administrators_see_it_in_the_list_and_on_the_page(
    app: Flask, client: PageClient, ada: Person, alice: Person
) -> None:
    client.sign_in(ada)
    assert "Frozen" not in client.get("/admin/users").text
    freeze(app, alice)
    assert "Frozen" in client.get("/admin/users").text
    page = client.get(f"/admin/users/{alice.id}").text
    assert "Frozen" in page
    assert "A new password, set by the mailed link" in page


def test_an_administrators_reset_link_opens_it_too(
    app: Flask, client: PageClient, ada: Person, alice: Person
) -> None:
    freeze(app, alice)
    client.sign_in(ada)
    page = f"/admin/users/{alice.id}"
    client.submit(f"{page}/reset-password", page)
    token = token_of(link_to(app, alice.email, "/auth/reset-password"))
    Api(app).post("/auth/password/reset", {"token": token, "password": NEW_PASSWORD})
    assert column(app, alice.id, "frozen_at") is None
