"""Being signed in as somebody else ends: in time, with what it hangs on, and by signing out."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select, update

from models import Role, UserSession, db
from models.base import now
from services import role_service, session_service, user_service, worker
from services.base_service import unit_of_work
from services.permissions import USERS_IMPERSONATE, USERS_READ
from tests.clients import PageClient
from tests.factories import Person, make_person, make_role
from tests.integration.pages.admin.acting import END, impersonations, sign_in_as, stop, told, who_is
from tests.integration.pages.admin.conftest import Browser
from tests.state import unchanged


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
    with app.app_context(), unit_of_work():
        assert worker.PURGES["sessions"]() == 1
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
