"""The clock does not tell who has an account: registering and asking for a mail take as long either way (A16)."""

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine, text

from models.base import now
from services import user_service
from tests.clients import Api, PageClient
from tests.conftest import counted
from tests.factories import Person, make_person

FLOOR = 0.12
NEW = {"name": "Nina Berg", "password": "violet harbour lantern six"}
DOORS = {
    "register": ("/auth/register", NEW),
    "verification": ("/auth/verify-email/request", {}),
    "reset": ("/auth/forgot-password", {}),
    "code": ("/auth/verify-email", {"code": "000000"}),
}
API = {"/auth/forgot-password": "/auth/password/forgot"}
WHO = ("known@example.com", "unconfirmed@example.com", "suspended@example.com", "nobody@example.com")


@pytest.fixture(autouse=True)
def people(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each kind, and a floor as in production."""
    make_person(app, "Known", email=WHO[0])
    make_person(app, "Unconfirmed", email=WHO[1], email_verified=False)
    make_person(app, "Suspended", email=WHO[2], is_active=False, suspended_at=now())
    monkeypatch.setitem(app.config, "EVEN_ANSWERS_MILLISECONDS", FLOOR * 1000)


@pytest.mark.parametrize("email", WHO)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", ["page", "json", "api"])
def test_no_answer_is_quicker_than_another(
    api: Api, client: PageClient, door: str, email: str, kind: str
) -> None:
    path, fields = DOORS[door]
    if kind == "page":
        client.get(path)  # its form, outside of what is timed
    began = time.monotonic()
    if kind == "page":
        status = client.submit(path, email=email, **fields).status_code
    elif kind == "json":
        status = client.post(path, json={"email": email, **fields}).status_code
    else:
        status = api.post(API.get(path, path), {"email": email, **fields}).status_code
    assert status in ({410} if door == "code" else {202, 303})
    assert time.monotonic() - began >= FLOOR


def test_a_wrong_code_takes_the_same_statements_for_nobody_and_for_everybody(app: Flask, api: Api) -> None:
    api.post("/auth/verify-email/request", {"email": WHO[1]})
    kinds = set()
    for email in WHO:
        with counted() as statements:
            assert api.post("/auth/verify-email", {"email": email, "code": "000000"}).status_code == 410
        kinds.add(tuple(statements))
    assert len(kinds) == 1


@dataclass
class Clock:
    """In place of `time`: what is done takes no time unless a test says so, and waits are noted instead of made."""

    moment: float = 1000.0
    waits: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.moment

    def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.moment += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of what dispatches requests and waits: however busy the machine is, it shows what is waited for."""
    made = Clock()
    monkeypatch.setattr("app.time", made)
    monkeypatch.setattr("blueprints.http.even.time", made)
    return made


@pytest.mark.parametrize(("takes", "waits"), [(0, [FLOOR]), (0.05, [0.07]), (FLOOR, []), (3, [])])
@pytest.mark.parametrize("email", [WHO[0], WHO[3]])
def test_the_wait_is_what_is_left_for_everybody(
    api: Api, clock: Clock, monkeypatch: pytest.MonkeyPatch, email: str, takes: float, waits: list[float]
) -> None:
    find = user_service.find_by_email

    def find_slowly(*args: Any, **more: Any) -> Any:
        clock.moment += takes
        return find(*args, **more)

    monkeypatch.setattr(user_service, "find_by_email", find_slowly)
    assert api.post("/auth/password/forgot", {"email": email}).status_code == 202
    assert clock.waits == waits


@pytest.mark.real_database
def test_nobody_waits_while_holding_anything(
    app: Flask, api: Api, alice: Person, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail is committed before the wait begins: another connection sees it."""
    elsewhere = create_engine(app.config["SQLALCHEMY_DATABASE_URI"])
    seen: list[tuple[float, int]] = []

    def sleep(seconds: float) -> None:
        with elsewhere.connect() as connection:
            mails = connection.execute(text("SELECT count(*) FROM outbox")).scalar_one()
        seen.append((round(seconds, 6), mails))

    monkeypatch.setattr(clock, "sleep", sleep)
    try:
        assert api.post("/auth/password/forgot", {"email": alice.email}).status_code == 202
        assert seen == [(FLOOR, 1)]
    finally:
        elsewhere.dispose()


def test_what_is_refused_at_once_does_not_wait(api: Api, clock: Clock) -> None:
    assert api.post("/auth/password/forgot", {"email": "no address"}).status_code == 422
    assert clock.waits == []


@pytest.mark.parametrize("door", DOORS)
def test_looking_at_the_form_does_not_wait(client: PageClient, clock: Clock, door: str) -> None:
    assert client.get(DOORS[door][0]).status_code == 200
    assert clock.waits == []


@pytest.mark.parametrize("door", DOORS)
def test_the_form_waits_like_the_call(client: PageClient, clock: Clock, door: str) -> None:
    path, fields = DOORS[door]
    assert client.submit(path, email=WHO[3], **fields).status_code == (410 if door == "code" else 303)
    assert clock.waits == [FLOOR]
