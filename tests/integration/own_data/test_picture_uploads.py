"""Uploads are opened for those who may, a few at once, and hold neither a connection nor a lock meanwhile."""

import threading
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from models import db
from services import throttle_service
from services.pictures import making
from tests.clients import Api
from tests.factories import Person
from tests.integration.own_data.pictures import picture, put
from tests.state import unchanged

pytestmark = pytest.mark.usefixtures("folder")


def test_too_many_at_once_are_told_to_come_back(
    api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = api.as_(alice)
    monkeypatch.setattr(making, "WAIT_SECONDS", 0.05)
    with making.AT_ONCE, unchanged(api.app):
        answer = put(caller, picture())
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert put(caller, picture()).status_code == 200


@pytest.mark.real_database
def test_no_connection_is_held_while_a_picture_is_opened(
    app: Flask, api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, seen = api.as_(alice), []

    def look(data: bytes) -> dict[int, bytes]:
        with app.app_context():
            seen.append(db.engine.pool.checkedout())  # type: ignore[attr-defined]  # a QueuePool
        return {size: picture("WEBP") for size in (256, 64)}

    monkeypatch.setattr(making, "remade", look)
    assert put(caller, picture()).status_code == 200
    assert seen == [0]


@pytest.mark.real_database
def test_account_can_be_changed_while_its_picture_is_opened(
    app: Flask, api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, begun, goes_on = api.as_(alice), threading.Event(), threading.Event()

    def wait(data: bytes) -> dict[int, bytes]:
        begun.set()
        assert goes_on.wait(10)
        return {size: picture("WEBP") for size in (256, 64)}

    monkeypatch.setattr(making, "remade", wait)
    answers: list[Any] = []
    upload = threading.Thread(target=lambda: answers.append(put(caller, picture())))
    upload.start()
    assert begun.wait(10)
    with app.app_context():
        open_ones = db.session.execute(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in %'"
            )
        ).scalar_one()
        db.session.remove()
    assert open_ones == 0
    assert caller.patch("/users/me", {"name": "Alice Changed"}).status_code == 200
    goes_on.set()
    upload.join(10)
    assert answers[0].status_code == 200


def test_nothing_is_opened_for_somebody_who_may_not(
    api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(data: bytes) -> dict[int, bytes]:
        raise AssertionError

    caller = api.as_(alice)
    monkeypatch.setattr(making, "remade", fail)
    assert put(api, picture()).status_code == 401
    for _ in range(throttle_service.PICTURE.amount):
        assert put(caller, b"").status_code == 422
    answer = put(caller, picture())
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


def test_limit_of_one_account_is_not_another_ones(api: Api, alice: Person, bob: Person) -> None:
    caller = api.as_(alice)
    for _ in range(throttle_service.PICTURE.amount + 1):
        put(caller, b"")
    assert put(api.as_(bob), picture()).status_code == 200


def test_frozen_meanwhile_keeps_its_picture(
    app: Flask, api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = api.as_(alice)

    def freeze(data: bytes) -> dict[int, bytes]:
        with app.app_context():
            db.session.execute(text("UPDATE users SET frozen_at = now() WHERE id = :id"), {"id": alice.id})
            db.session.commit()
        return {size: picture("WEBP") for size in (256, 64)}

    monkeypatch.setattr(making, "remade", freeze)
    assert put(caller, picture()).status_code == 403
    monkeypatch.undo()
    with app.app_context():
        assert (
            db.session.execute(text("SELECT picture FROM users WHERE id = :id"), {"id": alice.id}).scalar()
            is None
        )


def test_signed_out_meanwhile_keeps_its_picture(
    app: Flask, api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = api.as_(alice)

    def end(data: bytes) -> dict[int, bytes]:
        with app.app_context():
            db.session.execute(text("DELETE FROM sessions"))
            db.session.commit()
        return {size: picture("WEBP") for size in (256, 64)}

    monkeypatch.setattr(making, "remade", end)
    assert put(caller, picture()).status_code == 401
    with app.app_context():
        assert db.session.execute(text("SELECT picture FROM users")).scalars().all() == [None]
