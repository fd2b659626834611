"""Signing in as somebody else where it may not begin, and cookies and tabs that give nothing away."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from models import UserSession, db
from models.base import now
from services.base_service import unit_of_work
from services.permissions import USERS_IMPERSONATE, USERS_READ, USERS_WRITE
from tests.clients import PageClient
from tests.factories import Person, make_person, make_role
from tests.integration.pages.admin.acting import REASON, START, impersonations, sign_in_as, stop, told, who_is
from tests.integration.pages.admin.conftest import Browser
from tests.state import unchanged

# ------------------------------------------------------------------------------------------------------- not begun


@pytest.mark.parametrize("reason", ["", "  ", "ab", " a ", "x" * 501, "with \x00 in it"])
def test_a_reason_is_asked_for(app: Flask, desk: PageClient, bob: Person, reason: str) -> None:
    token = desk.token(f"/admin/users/{bob.id}/impersonate")
    with unchanged(app):
        answer = desk.post(f"/admin/users/{bob.id}/impersonate", data={"csrf_token": token, "reason": reason})
    assert answer.status_code in {400, 422}
    assert not impersonations(app)


def test_looking_at_the_page_does_nothing(app: Flask, desk: PageClient, bob: Person) -> None:
    with unchanged(app):
        assert desk.get(f"/admin/users/{bob.id}/impersonate?reason={REASON}").status_code == 200
        assert desk.get("/impersonation/stop").status_code == 405


def test_a_form_of_another_site_does_nothing(app: Flask, desk: PageClient, bob: Person) -> None:
    path = f"/admin/users/{bob.id}/impersonate"
    with unchanged(app):
        assert desk.post(path, data={"reason": REASON}).status_code == 403
        sent = {"csrf_token": desk.token(path), "reason": REASON}
        assert desk.post(path, data=sent, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_without_the_permission_there_is_neither_button_nor_page(
    app: Flask, browser: Browser, bob: Person
) -> None:
    keeper = make_person(app, "Keeper", role=make_role(app, "keeper", USERS_READ, USERS_WRITE))
    client = browser(keeper)
    assert "Sign in as this person" not in client.get(f"/admin/users/{bob.id}").text
    with unchanged(app):
        assert client.get(f"/admin/users/{bob.id}/impersonate").status_code == 403
        token = client.token("/account/profile")
        sent = {"csrf_token": token, "reason": REASON}
        assert client.post(f"/admin/users/{bob.id}/impersonate", data=sent).status_code == 403


def test_whoever_may_not_see_accounts_finds_nobody(app: Flask, browser: Browser, bob: Person) -> None:
    blind = make_person(app, "Blind", role=make_role(app, "blind", USERS_IMPERSONATE))
    assert browser(blind).get(f"/admin/users/{bob.id}/impersonate").status_code == 404


def test_a_sign_in_of_long_ago_is_not_enough(app: Flask, desk: PageClient, ada: Person, bob: Person) -> None:
    token = desk.token(f"/admin/users/{bob.id}")
    with app.app_context(), unit_of_work():
        long_ago = {"authenticated_at": now() - timedelta(minutes=11)}
        db.session.execute(update(UserSession).where(UserSession.user_id == ada.id).values(long_ago))
    answer = desk.post(f"/admin/users/{bob.id}/impersonate", data={"csrf_token": token, "reason": REASON})
    assert answer.location.startswith("/auth/reauthenticate")
    assert not impersonations(app)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"is_active": False, "suspended_at": now(), "suspension_reason": "Spam."}, "suspended"),
        ({"frozen_at": now()}, "This account is frozen"),
        ({"deletes_at": now() + timedelta(days=14)}, "going to be deleted"),
        ({"role": "above"}, "may do more than your own"),
    ],
)
def test_some_accounts_stay_closed(app: Flask, browser: Browser, columns: dict[str, Any], words: str) -> None:
    make_role(app, "above", USERS_READ, USERS_IMPERSONATE, USERS_WRITE)
    clerk = make_person(app, "Clerk", role=make_role(app, "clerk", USERS_READ, USERS_IMPERSONATE))
    client, closed = browser(clerk), make_person(app, "Closed", **columns)
    token = client.token("/account/profile")
    with unchanged(app):
        asked = client.get(f"/admin/users/{closed.id}/impersonate")
        assert asked.location == f"/admin/users/{closed.id}"
        page = client.get(asked.location).text
        assert words in page
        sent = {"csrf_token": token, "reason": REASON}
        assert client.post(f"/admin/users/{closed.id}/impersonate", data=sent).status_code == 303
    assert not impersonations(app)


def test_nobody_is_signed_in_as_himself(app: Flask, desk: PageClient, ada: Person) -> None:
    assert "Sign in as this person" not in desk.get(f"/admin/users/{ada.id}").text
    with unchanged(app):
        assert desk.get(f"/admin/users/{ada.id}/impersonate").status_code == 303
        token = desk.token("/account/profile")
        sent = {"csrf_token": token, "reason": REASON}
        assert desk.post(f"/admin/users/{ada.id}/impersonate", data=sent).status_code == 303


def test_nobody_is_found_under_a_strange_number(desk: PageClient) -> None:
    assert desk.get("/admin/users/999999/impersonate").status_code == 404


def test_there_is_nobody_behind_somebody_else(
    app: Flask, desk: PageClient, bob: Person, charlie: Person
) -> None:
    other = make_person(app, "Second Admin", role="admin")
    sign_in_as(desk, other)
    page = desk.get(f"/admin/users/{charlie.id}").text
    assert "Sign in as this person" not in page
    token = desk.token("/dashboard")
    sent = {"csrf_token": token, "reason": REASON}
    with unchanged(app):
        assert desk.post(f"/admin/users/{charlie.id}/impersonate", data=sent).status_code == 403
    assert len(impersonations(app)) == 1


# --------------------------------------------------------------------------------------------------- tabs and cookies


def test_a_form_of_ones_own_tab_does_nothing_in_the_persons_name(
    app: Flask, desk: PageClient, bob: Person
) -> None:
    of_my_tab = desk.token("/account/profile")
    sign_in_as(desk, bob)
    with unchanged(app):
        sent = {"csrf_token": of_my_tab, "name": "Ada, really"}
        assert desk.post("/account/profile", data=sent).status_code == 403
    of_his_tab = desk.token("/account/profile")
    stop(desk)
    with unchanged(app):
        sent = {"csrf_token": of_his_tab, "name": "Bob, really"}
        assert desk.post("/account/profile", data=sent).status_code == 403


def cookie(client: PageClient) -> str:
    found = client.get_cookie("session")
    assert found is not None
    return found.value


def test_no_former_cookie_opens_anything(app: Flask, desk: PageClient, ada: Person, bob: Person) -> None:
    def opens(value: str) -> str | None:
        other = app.test_client()
        assert isinstance(other, PageClient)
        other.set_cookie("session", value)
        return who_is(other)

    before = cookie(desk)
    assert opens(before) == ada.email
    sign_in_as(desk, bob)
    meanwhile = cookie(desk)
    assert opens(before) is None
    assert opens(meanwhile) == bob.email
    stop(desk)
    assert opens(before) is None
    assert opens(meanwhile) is None
    assert opens(cookie(desk)) == ada.email


def test_the_cookie_holds_nothing_of_the_administrator(app: Flask, desk: PageClient, bob: Person) -> None:
    with desk.session_transaction() as kept:
        own = kept["_user_id"]
    sign_in_as(desk, bob)
    with desk.session_transaction() as kept:
        assert own not in str(dict(kept))
        assert set(kept) <= {"_user_id", "_fresh", "_id", "csrf_token", "_flashes", "impersonation_ends"}
        assert bob.name not in str({name: kept[name] for name in kept if name != "_flashes"})


@pytest.mark.real_database
def test_of_two_starts_at_once_one_is_refused(app: Flask, browser: Browser) -> None:
    ada = make_person(app, "Ada Okonkwo", role="admin")
    people = [make_person(app, name) for name in ("Bob Castellanos", "Charlie Nwosu")]
    first = browser(ada)
    token = first.token(f"/admin/users/{people[0].id}/impersonate")
    clients = [first, app.test_client()]
    clients[1].set_cookie("session", cookie(first))

    def start(number: int) -> int:
        path = f"/admin/users/{people[number].id}/impersonate"
        return clients[number].post(path, data={"csrf_token": token, "reason": REASON}).status_code

    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(start, range(2)))
    assert statuses in ([303, 303], [303, 409])  # the second to login when it came after the first's commit
    assert len(impersonations(app)) == 1
    assert len(told(app, START)) == 1
