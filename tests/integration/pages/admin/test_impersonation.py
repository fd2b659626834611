"""Signing in as somebody else: begun, seen, recorded, told, ended."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select, update

from models import Role, User, UserSession, db
from models.base import now
from models.device import KnownDevice
from services import role_service, session_service, user_service, worker
from services.base_service import unit_of_work
from services.permissions import USERS_IMPERSONATE, USERS_READ, USERS_WRITE
from tests.clients import Api, PageClient
from tests.conftest import counted
from tests.factories import Person, make_person, make_role
from tests.integration.pages.admin.acting import REASON, impersonations, sign_in_as, stop, told, who_is
from tests.integration.pages.admin.conftest import Browser
from tests.integration.pages.desk import mails_to, subjects
from tests.state import unchanged

START, END = "account:impersonation:start", "account:impersonation:end"


# ------------------------------------------------------------------------------------------------------------ there


def test_an_administrator_sees_what_the_person_sees_and_is_himself_again(
    app: Flask, desk: PageClient, ada: Person, bob: Person
) -> None:
    assert "Sign in as this person" in desk.get(f"/admin/users/{bob.id}").text
    answer = sign_in_as(desk, bob)
    assert (answer.status_code, answer.location) == (303, "/dashboard")
    page = desk.get("/dashboard").text
    assert f"Hello, {bob.name}" in page
    assert f'You are signed in as <strong class="impersonation__name">{bob.name}.</strong>' in page
    assert who_is(desk) == bob.email
    assert desk.get("/admin/users").status_code == 403

    answer = stop(desk)
    assert answer.location == f"/admin/users/{bob.id}"
    page = desk.get(answer.location).text
    assert "You are signed in as yourself again." in page
    assert "impersonation__stop" not in page
    assert who_is(desk) == ada.email
    assert not impersonations(app)


def test_both_ends_are_recorded_with_the_reason(
    app: Flask, desk: PageClient, ada: Person, bob: Person
) -> None:
    sign_in_as(desk, bob, "  Looks at the picture.\r\nAs asked.  ")
    stop(desk)
    (start,), (end,) = told(app, START), told(app, END)
    until = start.pop("until")
    assert start == {"actor": ada.id, "target": bob.id, "reason": "Looks at the picture.\nAs asked."}
    assert end == {"actor": ada.id, "target": bob.id, "how": "stopped"}
    assert timedelta(minutes=29) < datetime.fromisoformat(until) - now() <= timedelta(minutes=30)


def test_the_person_is_told_by_mail_without_a_name(
    app: Flask, desk: PageClient, ada: Person, bob: Person
) -> None:
    sign_in_as(desk, bob)
    assert subjects(app, bob.email) == ["An administrator signed in to your account"]
    (mail,) = mails_to(app, bob.email)
    assert REASON in mail.text
    assert ada.name not in mail.text + mail.html
    assert ada.email not in mail.text + mail.html


def test_the_person_reads_it_in_the_security_history(
    desk: PageClient, browser: Browser, ada: Person, bob: Person
) -> None:
    sign_in_as(desk, bob)
    stop(desk)
    page = browser(bob).get("/account/history").text
    assert f"An administrator signed in as you: {REASON}" in page
    assert "The administrator is no longer signed in as you" in page
    assert ada.name not in page


def test_statistics_and_known_devices_are_not_touched(
    app: Flask, desk: PageClient, browser: Browser, bob: Person
) -> None:
    browser(bob)
    sign_in_as(desk, bob)
    desk.get("/dashboard")
    with app.app_context():
        row = db.session.get_one(User, bob.id)
        assert (row.last_login_at, row.updated_at) == (None, row.created_at)
        assert not db.session.scalar(select(func.count()).select_from(KnownDevice))
    assert "Signed in on this one only" in browser_page(browser, bob)
    assert not told(app, "account:login:success")


def browser_page(browser: Browser, person: Person) -> str:
    client = browser(person)
    client.submit("/account/devices/end-others", "/account/devices")
    return client.get("/dashboard").text


def test_it_pushes_none_of_the_persons_devices_out(
    app: Flask, desk: PageClient, browser: Browser, bob: Person
) -> None:
    first = browser(bob)
    for _ in range(session_service.MOST_SESSIONS - 1):
        browser(bob)
    sign_in_as(desk, bob)
    assert who_is(first) == bob.email
    assert not told(app, "account:session:surplus")


# ------------------------------------------------------------------------------------------------ what both are told


def test_what_is_changed_meanwhile_names_both(
    app: Flask, desk: PageClient, browser: Browser, ada: Person, bob: Person
) -> None:
    sign_in_as(desk, bob)
    assert desk.submit("/account/profile", name="Bob C.").status_code == 303
    (event,) = told(app, "account:update")
    assert event == {
        "actor": bob.id,
        "target": bob.id,
        "before": {"name": bob.name},
        "after": {"name": "Bob C."},
        "impersonator_id": ada.id,
    }
    page = browser(bob).get("/account/history").text
    assert "by an administrator, signed in as you" in page
    stop(desk)
    desk.submit("/account/profile", name="Ada O.")
    assert "impersonator_id" not in told(app, "account:update")[1]


@pytest.mark.real_database  # reading notes the last use, which the others' rollback undoes
def test_the_person_is_not_told_from_where(app: Flask, api: Api, desk: PageClient, bob: Person) -> None:
    caller = api.as_(bob)
    desk.environ_base["REMOTE_ADDR"] = "203.0.113.77"
    sign_in_as(desk, bob)
    desk.submit("/account/profile", name="Bob C.")
    with app.app_context(), unit_of_work():
        db.session.execute(update(UserSession).values(last_seen_at=now() - timedelta(minutes=2)))
    desk.get("/dashboard")  # which notes the last use
    events = caller.get("/users/me/events").json["data"]
    (changed,) = [event for event in events if event["action"] == "account:update"]
    assert (changed["by_you"], changed["ip"], changed["user_agent"]) == (False, None, None)
    told_of = caller.get("/users/me/sessions").text + caller.get("/users/me/events").text
    assert "203.0.113.77" not in told_of
    (row,) = impersonations(app)
    assert (row.ip, row.user_agent) == (None, None)


def test_log_lines_name_both(
    desk: PageClient, ada: Person, bob: Person, caplog: pytest.LogCaptureFixture
) -> None:
    sign_in_as(desk, bob)
    caplog.set_level("INFO")
    caplog.clear()
    desk.get("/dashboard")
    stop(desk)
    lines: list[Any] = [record.msg for record in caplog.records if record.name == "portico.access"]
    who = [(line["path"], line["user_id"], line.get("impersonator_id")) for line in lines]
    assert who[0] == ("/dashboard", bob.id, ada.id)
    caplog.clear()
    desk.get("/dashboard")
    line: Any = caplog.records[-1].msg
    assert (line["user_id"], line.get("impersonator_id")) == (ada.id, None)


def test_the_persons_devices_show_it_by_what_it_is_and_end_it_at_once(
    app: Flask, desk: PageClient, browser: Browser, ada: Person, bob: Person
) -> None:
    sign_in_as(desk, bob)
    persons = browser(bob)
    page = persons.get("/account/devices").text
    assert "An administrator, signed in as you" in page
    assert ada.name not in page
    (row,) = impersonations(app)
    assert persons.submit(f"/account/devices/{row.id}/end", "/account/devices").status_code == 303
    assert who_is(desk) is None
    assert told(app, END) == [{"actor": ada.id, "target": bob.id, "how": "signed_out"}]
    assert "An administrator" not in persons.get("/account/devices").text


def test_signing_out_all_others_ends_it(
    app: Flask, desk: PageClient, browser: Browser, ada: Person, bob: Person
) -> None:
    sign_in_as(desk, bob)
    browser(bob).submit("/account/devices/end-others", "/account/devices")
    assert who_is(desk) is None
    assert [event["how"] for event in told(app, END)] == ["signed_out"]


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


# ----------------------------------------------------------------------------------------------------------- its end


def test_it_ends_after_half_an_hour_however_much_it_is_used(
    app: Flask, desk: PageClient, ada: Person, bob: Person
) -> None:
    sign_in_as(desk, bob)
    began = now()
    for minutes in (9, 19, 29):
        with time_machine.travel(began + timedelta(minutes=minutes), tick=False):
            assert who_is(desk) == bob.email
    with time_machine.travel(began + timedelta(minutes=30, seconds=1), tick=False):
        answer = desk.get("/dashboard")
        assert answer.location == "/auth/login?next=/dashboard"
        page = desk.get(answer.location).text
        assert "You are no longer signed in as somebody else." in page
        assert "impersonation__stop" not in page
        with app.app_context(), unit_of_work():
            session_service.purge()
    assert told(app, END) == [{"actor": ada.id, "target": bob.id, "how": "over"}]
    assert not impersonations(app)


def test_its_end_never_comes_after_that_of_ones_own_session(
    app: Flask, desk: PageClient, ada: Person, bob: Person
) -> None:
    end = now() + timedelta(minutes=5)
    with app.app_context(), unit_of_work():
        db.session.execute(update(UserSession).values(expires_at=end))
    sign_in_as(desk, bob)
    assert impersonations(app)[0].expires_at == end


@pytest.mark.real_database  # reading notes the last use, which the others' rollback undoes
def test_ones_own_session_does_not_grow_idle_meanwhile(
    app: Flask, desk: PageClient, ada: Person, bob: Person
) -> None:
    app.config["SESSION_LIFETIME_MINUTES"], usual = 10, app.config["SESSION_LIFETIME_MINUTES"]
    try:
        sign_in_as(desk, bob)
        began = now()
        for minutes in (8, 16, 24):
            with time_machine.travel(began + timedelta(minutes=minutes), tick=False):
                assert who_is(desk) == bob.email
        with time_machine.travel(began + timedelta(minutes=25), tick=False):
            stop(desk)
            assert who_is(desk) == ada.email
    finally:
        app.config["SESSION_LIFETIME_MINUTES"] = usual


def suspend_ada(ada: Person) -> None:
    user = user_service.load(ada.id)
    user.is_active, user.suspended_at = False, now()
    user.suspension_reason = "Left."


def freeze_ada(ada: Person) -> None:
    user_service.load(ada.id).frozen_at = now()


def end_adas_session(ada: Person) -> None:
    session_service.end_all(ada.id)


def delete_ada(ada: Person) -> None:
    user_service.delete(ada.id, by=None)


def demote_ada(ada: Person) -> None:
    user_service.load(ada.id).role = "member"


def take_the_permission(ada: Person) -> None:
    role = db.session.get_one(Role, "admin")
    role.permissions = [code for code in role.permissions if code != USERS_IMPERSONATE]


@pytest.mark.parametrize(
    "happens", [suspend_ada, freeze_ada, end_adas_session, delete_ada, demote_ada, take_the_permission]
)
def test_it_ends_with_what_it_hangs_on(
    app: Flask, desk: PageClient, ada: Person, bob: Person, happens: Any
) -> None:
    make_person(app, "Second Admin", role="admin")
    sign_in_as(desk, bob)
    token = desk.token("/account/profile")
    with app.app_context(), unit_of_work():
        happens(ada)
    with unchanged(app):
        assert who_is(desk) is None
        answer = desk.post("/account/profile", data={"csrf_token": token, "name": "Changed"})
        assert answer.location == "/auth/login"
        answer = desk.post("/impersonation/stop", data={"csrf_token": token})
        assert answer.location == "/auth/login"
    assert who_is(desk) is None


def test_it_ends_when_the_person_may_do_more(app: Flask, browser: Browser) -> None:
    clerk = make_person(app, "Clerk", role=make_role(app, "clerk", USERS_READ, USERS_IMPERSONATE))
    person = make_person(app, "Rising")
    client = browser(clerk)
    sign_in_as(client, person)
    assert who_is(client) == person.email
    with app.app_context(), unit_of_work():
        user_service.load(person.id).role = role_service.ADMIN
    assert who_is(client) is None


def test_it_ends_with_the_persons_suspension(app: Flask, desk: PageClient, ada: Person, bob: Person) -> None:
    sign_in_as(desk, bob)
    with app.app_context(), unit_of_work():
        user_service.suspend(bob.id, "Spam.", by=None)
    assert who_is(desk) is None
    assert [event["how"] for event in told(app, END)] == ["signed_out"]


def test_what_hung_on_an_ended_session_is_told_once_it_is_swept_away(
    app: Flask, desk: PageClient, ada: Person, bob: Person
) -> None:
    sign_in_as(desk, bob)
    with app.app_context(), unit_of_work():
        session_service.end_all(ada.id)
        assert not session_service.list_of(bob.id, current=None)
    with app.app_context():
        assert worker.PURGES["sessions"]() == 1
        db.session.commit()
    assert told(app, END) == [{"actor": ada.id, "target": bob.id, "how": "over"}]


def test_signing_out_means_out(app: Flask, desk: PageClient, ada: Person, bob: Person) -> None:
    sign_in_as(desk, bob)
    assert desk.submit("/auth/logout").status_code == 303
    assert who_is(desk) is None
    with app.app_context():
        assert not db.session.scalar(select(func.count()).select_from(UserSession))
    (event,) = told(app, "account:logout")
    assert event == {"actor": ada.id, "target": ada.id}


def test_stopping_twice_changes_nothing_more(app: Flask, desk: PageClient, ada: Person, bob: Person) -> None:
    sign_in_as(desk, bob)
    old = desk.token("/dashboard")
    stop(desk)
    with unchanged(app):
        refused = desk.post("/impersonation/stop", data={"csrf_token": old})
        assert refused.status_code == 403
        again = stop(desk)
        assert again.location == "/dashboard"
    assert who_is(desk) == ada.email
    assert len(told(app, END)) == 1


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


# ------------------------------------------------------------------------------------------------------------- costs


def test_a_page_costs_no_statement_more(desk: PageClient, browser: Browser, bob: Person) -> None:
    persons = browser(bob)
    persons.get("/dashboard")
    with counted() as own:
        persons.get("/dashboard")
    sign_in_as(desk, bob)
    desk.get("/dashboard")
    with counted() as as_bob:
        desk.get("/dashboard")
    assert len(as_bob) == len(own) <= 3
    assert as_bob[0] == own[0]
