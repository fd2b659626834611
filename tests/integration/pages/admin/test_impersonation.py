"""Signing in as somebody else: what is seen, recorded and told, and what it costs."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from models import User, UserSession, db
from models.base import now
from models.device import KnownDevice
from services import session_service
from services.base_service import unit_of_work
from tests.clients import Api, PageClient
from tests.conftest import counted
from tests.factories import Person
from tests.integration.pages.admin.acting import (
    END,
    REASON,
    START,
    impersonations,
    sign_in_as,
    stop,
    told,
    who_is,
)
from tests.integration.pages.admin.conftest import Browser
from tests.integration.pages.desk import mails_to, subjects

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
    by_ada = f'by <a href="/admin/users/{ada.id}">user {ada.id}</a>, signed in as this person'
    assert by_ada in desk.get("/admin/audit?action=account:update").text
    assert by_ada in desk.get(f"/admin/users/{bob.id}").text
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
