"""One account: shown, invited, given a role, suspended, signed out, sent a link, deleted."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from models import AuditEvent, OneTimeToken, OutboxMail, Role, User, UserSession, db
from services import outbox_service, user_service
from services.base_service import unit_of_work
from services.permissions import USERS_READ, USERS_WRITE
from tests.clients import Api, PageClient
from tests.conftest import counted
from tests.factories import PASSWORD, Person, make_person
from tests.integration.pages.admin.conftest import Browser
from tests.state import unchanged, wait_for_a_lock


def user_of(app: Flask, person_id: int) -> User | None:
    """The account as it stands now."""
    with app.app_context():
        return db.session.get(User, person_id)


def mails_to(app: Flask, address: str) -> list[str]:
    """The kinds of the mails on their way to an address."""
    with app.app_context():
        return sorted(db.session.scalars(select(OutboxMail.kind).where(OutboxMail.to_address == address)))


def events(app: Flask, action: str) -> list[dict[str, Any]]:
    """Actor, target and details of every event of this kind."""
    with app.app_context():
        found = db.session.scalars(select(AuditEvent).where(AuditEvent.action == action))
        return [{"actor": event.actor_id, "target": event.target_id, **event.details} for event in found]


def live_sessions(app: Flask, person: Person) -> int:
    """How many sessions an account has."""
    with app.app_context():
        mine = select(func.count()).select_from(UserSession).where(UserSession.user_id == person.id)
        return db.session.scalar(mine) or 0


def flash_after(client: PageClient, response: Any) -> str:
    """What the page that a form leads to says."""
    assert response.status_code == 303
    page = client.get(response.location).text
    found = re.search(r'role="(?:status|alert)">.*?<p>(.*?)</p>', page, re.DOTALL)
    return found[1] if found else ""


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


# ----------------------------------------------------------------------------------------------------------- invite


def test_an_invitation_is_mailed(app: Flask, desk: PageClient) -> None:
    response = desk.submit("/admin/users/new", name="Dora", email="dora@example.com", role="editor")
    assert "An invitation is on its way to dora@example.com." in flash_after(desk, response)
    assert mails_to(app, "dora@example.com") == ["invitation"]
    with app.app_context():
        dora = db.session.scalars(select(User).where(User.email == "dora@example.com")).one()
    assert (dora.role, dora.email_verified, dora.password_hash) == ("editor", False, None)


@pytest.mark.parametrize(
    ("fields", "field", "status"),
    [
        ({"name": "", "email": "dora@example.com", "role": "member"}, "name", 422),
        ({"name": "Dora", "email": "dora", "role": "member"}, "email", 422),
        ({"name": "Dora", "email": "dora@example.com", "role": "king"}, "role", 422),
        ({"name": "Dora", "email": "ADA@EXAMPLE.COM", "role": "member"}, "", 409),
    ],
)
def test_an_invitation_that_is_wrong_is_shown_again(
    app: Flask, browser: Browser, fields: dict[str, str], field: str, status: int
) -> None:
    client = browser(make_person(app, "Ada Okonkwo", role="admin", email="ada@example.com"))
    with unchanged(app):
        response = client.submit("/admin/users/new", **fields)
    assert response.status_code == status
    assert "<title>Error: Invite a user" in response.text
    if field:
        assert f'href="#{field}"' in response.text
    if fields["name"]:
        assert 'value="Dora"' in response.text


def test_an_invitation_takes_no_password(app: Flask, desk: PageClient) -> None:
    desk.submit("/admin/users/new", name="Dora", email="dora@example.com", role="member", password=PASSWORD)
    with app.app_context():
        dora = db.session.scalars(select(User).where(User.email == "dora@example.com")).one()
    assert dora.password_hash is None


# ------------------------------------------------------------------------------------------------------------- role


def test_another_role_is_given_and_told(app: Flask, desk: PageClient, bob: Person) -> None:
    response = desk.submit(f"/admin/users/{bob.id}/role", f"/admin/users/{bob.id}", role="admin")
    assert f"{bob.name} has the role admin now." in flash_after(desk, response)
    assert user_of(app, bob.id).role == "admin"  # type: ignore[union-attr]
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
    assert user_of(app, bob.id).is_active  # type: ignore[union-attr]
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


# ------------------------------------------------------------------------------------------------------- reset link


def test_a_reset_link_is_mailed_and_works(app: Flask, desk: PageClient, bob: Person) -> None:
    response = desk.submit(f"/admin/users/{bob.id}/reset-password", f"/admin/users/{bob.id}")
    assert "The link is on its way" in flash_after(desk, response)
    assert mails_to(app, bob.email) == ["reset_password"]
    assert events(app, "account:password:reset_request")[0]["actor"] != bob.id
    with app.app_context():
        link = re.search(r"https?://\S+token=\S+", outbox_service.mailbox()[0].text)
    assert link
    theirs = app.test_client()
    assert theirs.get(link[0], follow_redirects=True).status_code == 200


def test_no_page_shows_the_link(app: Flask, desk: PageClient, bob: Person) -> None:
    response = desk.submit(f"/admin/users/{bob.id}/reset-password", f"/admin/users/{bob.id}")
    assert "token=" not in desk.get(response.location).text
    assert "token=" not in desk.get("/admin/outbox").text


def test_who_never_had_a_password_is_invited_again(app: Flask, desk: PageClient) -> None:
    dora = make_person(app, "Dora", password_hash=None, email_verified=False)
    desk.submit(f"/admin/users/{dora.id}/reset-password", f"/admin/users/{dora.id}")
    assert mails_to(app, dora.email) == ["invitation"]


def test_a_suspended_person_gets_no_link(app: Flask, desk: PageClient) -> None:
    sam = make_person(app, "Sam", is_active=False, suspended_at=func.now())
    with unchanged(app):
        response = desk.submit(f"/admin/users/{sam.id}/reset-password", f"/admin/users/{sam.id}")
    assert "Reinstate it first." in flash_after(desk, response)


# ------------------------------------------------------------------------------------------------------------ delete


def test_deleting_asks_for_ones_own_password(app: Flask, desk: PageClient, bob: Person) -> None:
    response = desk.submit(f"/admin/users/{bob.id}/delete", reason="Asked for it.", current_password=PASSWORD)
    assert response.location == "/admin/users"
    assert f"The account of {bob.name} is deleted." in flash_after(desk, response)
    assert user_of(app, bob.id) is None
    assert mails_to(app, bob.email) == ["account_deleted"]
    assert events(app, "account:delete")[0]["reason"] == "Asked for it."
    assert desk.get(f"/admin/users/{bob.id}").status_code == 404


@pytest.mark.parametrize("password", ["", "not my password", f"{PASSWORD} "])
def test_without_the_password_nothing_is_deleted(
    app: Flask, desk: PageClient, bob: Person, password: str
) -> None:
    with unchanged(app, but=("audit_events",)):
        response = desk.submit(f"/admin/users/{bob.id}/delete", reason="Kept.", current_password=password)
    assert response.status_code == (403 if password else 422)
    assert 'href="#current_password"' in response.text
    assert "Kept." in response.text
    assert password not in response.text or not password
    assert len(events(app, "account:delete_refused")) == (1 if password else 0)


def test_the_password_of_the_account_itself_will_not_do(app: Flask, desk: PageClient) -> None:
    bob = make_person(app, "Bob", password="his very own password")
    with unchanged(app, but=("audit_events",)):
        response = desk.submit(f"/admin/users/{bob.id}/delete", current_password=bob.password)
    assert response.status_code == 403


def test_guessing_the_password_is_slowed(app: Flask, desk: PageClient, bob: Person) -> None:
    token = desk.token(f"/admin/users/{bob.id}/delete")
    sent = {"csrf_token": token, "current_password": "wrong"}
    tries = [desk.post(f"/admin/users/{bob.id}/delete", data=sent) for _ in range(11)]
    assert [response.status_code for response in tries] == [403] * 5 + [429] * 6
    assert int(tries[-1].headers["Retry-After"]) > 0
    right = desk.post(f"/admin/users/{bob.id}/delete", data={**sent, "current_password": PASSWORD})
    assert right.status_code == 429
    assert user_of(app, bob.id) is not None


def test_the_right_password_forgives_the_wrong_ones(app: Flask, desk: PageClient, bob: Person) -> None:
    others = [make_person(app, f"Member {number}", password_hash="x") for number in range(2)]
    for other in others:
        for _ in range(4):
            desk.submit(f"/admin/users/{bob.id}/delete", current_password="wrong")
        response = desk.submit(f"/admin/users/{other.id}/delete", current_password=PASSWORD)
        assert response.status_code == 303


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
    assert user_of(app, ada.id).role == "admin"  # type: ignore[union-attr]


@pytest.mark.real_database
def test_of_two_administrators_who_delete_each_other_one_stays(app: Flask, browser: Browser) -> None:
    people = [make_person(app, name, role="admin") for name in ("Ada Okonkwo", "Second Admin")]
    clients = [browser(person) for person in people]
    paths = [f"/admin/users/{person.id}/delete" for person in reversed(people)]
    tokens = [client.token(path) for client, path in zip(clients, paths, strict=True)]

    def delete(number: int) -> int:
        sent = {"csrf_token": tokens[number], "current_password": PASSWORD}
        return clients[number].post(paths[number], data=sent).status_code

    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(delete, range(2)))
    assert statuses.count(303) >= 1
    with app.app_context():
        left = db.session.scalar(select(func.count()).select_from(User).where(User.role == "admin"))
    assert left == 1


def test_links_of_a_deleted_account_are_dead(app: Flask, desk: PageClient, bob: Person) -> None:
    desk.submit(f"/admin/users/{bob.id}/reset-password", f"/admin/users/{bob.id}")
    desk.submit(f"/admin/users/{bob.id}/delete", current_password=PASSWORD)
    with app.app_context():
        assert not db.session.scalar(select(func.count()).select_from(OneTimeToken))
