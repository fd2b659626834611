"""One account: shown, given a role, suspended, signed out; and nobody rises by himself."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import select

from models import Role, UserSession, db
from services import user_service
from services.base_service import unit_of_work
from services.permissions import USERS_READ, USERS_WRITE
from tests.clients import Api, PageClient
from tests.conftest import counted
from tests.factories import PASSWORD, Person, make_person
from tests.integration.pages.admin.accounts import events, flash_after, live_sessions, mails_to, user_of
from tests.integration.pages.admin.conftest import Browser
from tests.state import unchanged, wait_for_a_lock

# ------------------------------------------------------------------------------------------------------------- show


def test_an_account_is_shown_with_devices_and_events(
    app: Flask, desk: PageClient, browser: Browser, bob: Person
) -> None:
    browser(bob)
    desk.submit(f"/admin/users/{bob.id}/role", f"/admin/users/{bob.id}", role="editor")
    with counted() as statements:
        page = desk.get(f"/admin/users/{bob.id}").text
    for words in (bob.name, bob.email, "Role changed", "Danger zone", "editor", "Unknown device"):
        assert words in page
    assert len(statements) <= 7


def test_ones_own_account_has_no_danger_zone(desk: PageClient, ada: Person) -> None:
    page = desk.get(f"/admin/users/{ada.id}").text
    assert "Danger zone" not in page
    assert "This device" in page


@pytest.mark.parametrize("number", ["999999", "0", "007", "x", "9223372036854775808"])
def test_nobody_is_not_found(desk: PageClient, number: str) -> None:
    assert desk.get(f"/admin/users/{number}").status_code == 404


# ------------------------------------------------------------------------------------------------------------- role


def test_another_role_is_given_and_told(app: Flask, desk: PageClient, bob: Person) -> None:
    response = desk.submit(f"/admin/users/{bob.id}/role", f"/admin/users/{bob.id}", role="admin")
    assert f"{bob.name} has the role admin now." in flash_after(desk, response)
    assert user_of(app, bob.id).role == "admin"
    assert mails_to(app, bob.email) == ["role_changed"]


@pytest.mark.parametrize("role", ["king", "Admin", "", "admin "])
def test_a_role_that_is_not_there_is_refused(app: Flask, desk: PageClient, bob: Person, role: str) -> None:
    with unchanged(app):
        response = desk.submit(f"/admin/users/{bob.id}/role", f"/admin/users/{bob.id}", role=role)
    assert response.status_code == 422
    assert 'href="#role"' in response.text


def test_the_last_administrator_keeps_the_role(app: Flask, desk: PageClient, ada: Person) -> None:
    with unchanged(app):
        response = desk.submit(f"/admin/users/{ada.id}/role", f"/admin/users/{ada.id}", role="member")
    assert response.status_code == 409
    assert "last active administrator" in response.text


def test_whoever_gives_up_the_role_is_led_out(app: Flask, desk: PageClient, ada: Person) -> None:
    make_person(app, "Second", role="admin")
    response = desk.submit(f"/admin/users/{ada.id}/role", f"/admin/users/{ada.id}", role="member")
    assert response.location == "/dashboard"
    assert desk.get("/admin/users").status_code == 403


# --------------------------------------------------------------------------------------------- suspend and reinstate


def test_suspending_asks_why_and_ends_sessions(
    app: Flask, desk: PageClient, browser: Browser, bob: Person
) -> None:
    his = browser(bob)
    browser(bob)
    page = desk.get(f"/admin/users/{bob.id}/suspend").text
    assert f'<h1 class="breakable">Suspend {bob.name}?</h1>' in page
    assert "The sessions on 2 devices end now." in page
    response = desk.submit(f"/admin/users/{bob.id}/suspend", reason="Sent spam.")
    assert "is suspended, and signed out everywhere." in flash_after(desk, response)
    assert his.get("/dashboard").status_code == 303
    assert live_sessions(app, bob) == 0
    assert mails_to(app, bob.email) == ["suspended"]
    assert events(app, "account:suspend")[0]["reason"] == "Sent spam."
    assert "Sent spam." in desk.get(f"/admin/users/{bob.id}").text


def test_suspending_wants_a_reason(app: Flask, desk: PageClient, bob: Person) -> None:
    for reason in ("", "  ", "x" * 501):
        with unchanged(app):
            response = desk.submit(f"/admin/users/{bob.id}/suspend", reason=reason)
        assert response.status_code == 422
        assert 'href="#reason"' in response.text


def test_a_reinstated_person_is_told(app: Flask, desk: PageClient, bob: Person) -> None:
    desk.submit(f"/admin/users/{bob.id}/suspend", reason="Sent spam.")
    response = desk.submit(f"/admin/users/{bob.id}/reinstate", f"/admin/users/{bob.id}")
    assert "The account is reinstated." in flash_after(desk, response)
    assert user_of(app, bob.id).is_active
    assert "reinstated" in mails_to(app, bob.email)


def test_a_button_that_comes_too_late_says_so(app: Flask, desk: PageClient, bob: Person) -> None:
    with unchanged(app):
        late = desk.submit(f"/admin/users/{bob.id}/reinstate", f"/admin/users/{bob.id}")
    assert "This account is not suspended." in flash_after(desk, late)
    desk.submit(f"/admin/users/{bob.id}/suspend", reason="Sent spam.")
    token = desk.token(f"/admin/users/{bob.id}")
    with unchanged(app):
        again = desk.post(f"/admin/users/{bob.id}/suspend", data={"csrf_token": token, "reason": "Again."})
    assert "suspended already" in flash_after(desk, again)
    assert "suspended already" in flash_after(desk, desk.get(f"/admin/users/{bob.id}/suspend"))


@pytest.mark.parametrize("what", ["suspend", "delete"])
def test_nobody_does_it_to_himself(app: Flask, desk: PageClient, ada: Person, what: str) -> None:
    make_person(app, "Second", role="admin")
    token = desk.token(f"/admin/users/{ada.id}")
    with unchanged(app):
        shown = desk.get(f"/admin/users/{ada.id}/{what}")
        sent = desk.post(
            f"/admin/users/{ada.id}/{what}",
            data={"csrf_token": token, "reason": "Bye.", "current_password": PASSWORD},
        )
    assert shown.status_code == sent.status_code == 303
    assert "Another administrator can do this." in flash_after(desk, sent)


# ---------------------------------------------------------------------------------------------------------- sessions


def test_one_device_is_signed_out(app: Flask, desk: PageClient, browser: Browser, bob: Person) -> None:
    his = [browser(bob), browser(bob)]
    page = desk.get(f"/admin/users/{bob.id}").text
    path = re.findall(r'action="(/admin/users/\d+/sessions/[0-9a-f-]{36}/end)"', page)[0]
    response = desk.submit(path, f"/admin/users/{bob.id}")
    assert "The device is signed out." in flash_after(desk, response)
    assert sorted(client.get("/dashboard").status_code for client in his) == [200, 303]
    assert events(app, "account:session:end")[0]["target"] == bob.id


def test_every_device_is_signed_out(
    app: Flask, desk: PageClient, browser: Browser, api: Api, bob: Person
) -> None:
    his, program = browser(bob), api.as_(bob)
    response = desk.submit(f"/admin/users/{bob.id}/sessions/end", f"/admin/users/{bob.id}")
    assert "Signed out everywhere." in flash_after(desk, response)
    assert his.get("/dashboard").status_code == 303
    assert program.get("/users/me").status_code == 401
    assert desk.get("/admin/users").status_code == 200


def test_a_session_is_ended_under_its_own_account_only(
    app: Flask, desk: PageClient, browser: Browser, alice: Person, bob: Person
) -> None:
    browser(bob)
    with app.app_context():
        session_id = db.session.scalars(select(UserSession.id).where(UserSession.user_id == bob.id)).one()
    token = desk.token(f"/admin/users/{bob.id}")
    with unchanged(app):
        path = f"/admin/users/{alice.id}/sessions/{session_id}/end"
        assert desk.post(path, data={"csrf_token": token}).status_code == 404


# ------------------------------------------------------------------------------------------ nobody rises by himself


def test_a_helper_manages_only_those_below_him(
    app: Flask, browser: Browser, ada: Person, bob: Person
) -> None:
    with app.app_context(), unit_of_work():
        db.session.add(Role(name="helper", description="Helps", permissions=[USERS_READ, USERS_WRITE]))
    helper = browser(make_person(app, "Hanna", role="helper"))
    page = helper.get(f"/admin/users/{bob.id}").text
    assert 'value="editor"' in page
    assert 'value="admin"' not in page
    token = helper.token("/account/password")
    for path, fields in {
        f"/admin/users/{bob.id}/role": {"role": "admin"},
        f"/admin/users/{ada.id}/role": {"role": "member"},
        f"/admin/users/{ada.id}/suspend": {"reason": "Coup."},
        f"/admin/users/{ada.id}/delete": {"current_password": PASSWORD},
        f"/admin/users/{ada.id}/reset-password": {},
        f"/admin/users/{ada.id}/sessions/end": {},
        "/admin/users/new": {"name": "Dora", "email": "dora@example.com", "role": "admin"},
    }.items():
        with unchanged(app):
            response = helper.post(path, data={"csrf_token": token, **fields})
        assert response.status_code in {303, 403}, path


# ------------------------------------------------------------------------------------------------------ at one instant


@pytest.mark.real_database
def test_of_two_administrators_who_demote_each_other_one_is_told(app: Flask, browser: Browser) -> None:
    ada, other = (make_person(app, name, role="admin") for name in ("Ada Okonkwo", "Second Admin"))
    client = browser(other)
    token = client.token(f"/admin/users/{ada.id}")
    with ThreadPoolExecutor(1) as pool, app.app_context():
        with unit_of_work():
            user_service.set_role(user_service.load(other.id), "member", by=None)
            db.session.flush()
            sent = {"csrf_token": token, "role": "member"}
            call = pool.submit(client.post, f"/admin/users/{ada.id}/role", data=sent)
            wait_for_a_lock()
        response = call.result()
    assert response.status_code == 409
    assert "last active administrator" in response.text
    assert user_of(app, ada.id).role == "admin"
