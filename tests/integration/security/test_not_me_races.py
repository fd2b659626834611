"""“This was not me” against whatever else runs at the same moment: nobody waits for ever, and nobody gets past it."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from models import db
from services import export_service, link_service, own_data, session_service
from services.base_service import unit_of_work
from services.user_service import load
from tests.clients import Api
from tests.factories import make_person
from tests.integration.oidc.desk import column
from tests.integration.pages.desk import NEW_PASSWORD
from tests.integration.security.not_me import MALLORY, PAGE, move, one, press, tokens_to, told
from tests.state import wait_for_a_lock

pytestmark = pytest.mark.real_database


def meanwhile(app: Flask, act: Callable[[], Any]) -> threading.Thread:
    """Begin `act` on a connection of its own, until it waits for a lock."""
    thread = threading.Thread(target=act)
    thread.start()
    wait_for_a_lock()
    return thread


def be_the_victim() -> None:
    """Be the one whom a deadlock fails: the other one would be tried again, and nobody would see it."""
    db.session.execute(text("SET LOCAL deadlock_timeout = '10ms'"))


def pressing(app: Flask, token: str, answers: list[int]) -> Callable[[], None]:
    return lambda: answers.append(app.test_client().post(PAGE, json={"token": token}).status_code)


def test_a_copy_in_the_making_keeps_nobody_waiting(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = make_person(app, "Alice")
    Api(app).as_(alice).post("/users/me/export")
    token, answers = told(app, alice), list[int]()
    copy_of = own_data.copy_of

    def copied_slowly(*args: Any, **kwargs: Any) -> Any:
        thread = threading.Thread(target=pressing(app, token, answers))
        thread.start()
        thread.join(timeout=20)
        return copy_of(*args, **kwargs)

    monkeypatch.setattr(own_data, "copy_of", copied_slowly)
    with app.app_context():
        assert export_service.make_due() == 0
    assert answers == [200]
    assert one(app, "SELECT count(*) FROM data_exports") == 0
    assert one(app, "SELECT count(*) FROM outbox WHERE kind = 'export_ready'") == 0
    assert one(app, "SELECT count(*) FROM one_time_tokens WHERE purpose = 'download_export'") == 0


def test_a_link_that_is_used_at_that_moment_is_no_deadlock(app: Flask) -> None:
    alice = make_person(app, "Alice")
    token, answers = told(app, alice), list[int]()
    with app.app_context(), unit_of_work():
        change = link_service.make_email_change(load(alice.id), MALLORY)

    def confirm() -> None:
        answers.append(app.test_client().post("/auth/confirm-email", json={"token": change}).status_code)

    with app.app_context(), unit_of_work():
        be_the_victim()
        load(alice.id)  # as the press does first
        confirming = meanwhile(app, confirm)
        link_service.forget_all(alice.id)
    confirming.join(timeout=20)
    pressing(app, token, answers)()
    assert answers == [410, 200]
    assert column(app, alice.id, "email") == alice.email


def test_a_token_that_is_exchanged_at_that_moment_is_no_deadlock(app: Flask) -> None:
    alice = make_person(app, "Alice")
    with app.app_context(), unit_of_work():
        pair = session_service.start_api(load(alice.id), "Phone")
    answers: list[int] = []
    body = {"refresh_token": pair.refresh_token}
    with app.app_context(), unit_of_work():
        be_the_victim()
        db.session.execute(text("SELECT 1 FROM sessions FOR UPDATE"))  # as the press does first
        refreshing = meanwhile(app, lambda: answers.append(Api(app).post("/auth/refresh", body).status_code))
        assert session_service.end_all(alice.id) == 1
    refreshing.join(timeout=20)
    assert answers == [401]


def test_a_reset_asked_for_at_that_moment_opens_nothing_from_the_address_that_is_taken_off(
    app: Flask,
) -> None:
    alice = make_person(app, "Alice")
    move(app, alice, MALLORY)
    with app.app_context(), unit_of_work():  # read before the press was committed, written after
        stale = load(alice.id)
        db.session.expunge(stale)
    (token,) = tokens_to(app, alice.email)
    press(app, token)
    assert column(app, alice.id, "email") == alice.email
    with app.app_context(), unit_of_work():
        token = link_service.make_reset(stale)
    refused = Api(app).post("/auth/password/reset", {"token": token, "password": NEW_PASSWORD})
    assert (refused.status_code, refused.json["error"]["code"]) == (410, "LINK_EXPIRED")
    assert column(app, alice.id, "frozen_at") is not None


def test_an_address_whose_small_letters_are_a_matter_of_taste_is_no_obstacle(app: Flask) -> None:
    alice = make_person(app, "Alice", email="İPEK@example.com")
    assert press(app, told(app, alice)).status_code == 200
