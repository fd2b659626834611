"""The clock does not tell who has an account: registering and asking for a mail take as long either way (A16)."""

import time

import pytest
from flask import Flask
from sqlalchemy import create_engine, text

from models.base import now
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


@pytest.mark.real_database
def test_nobody_waits_while_holding_anything(
    app: Flask, api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail is committed before the wait begins: another connection sees it."""
    elsewhere = create_engine(app.config["SQLALCHEMY_DATABASE_URI"])
    seen: list[tuple[bool, int]] = []

    def sleep(seconds: float) -> None:
        with elsewhere.connect() as connection:
            mails = connection.execute(text("SELECT count(*) FROM outbox")).scalar_one()
        seen.append((0 < seconds <= FLOOR, mails))

    monkeypatch.setattr("blueprints.http.even.time.sleep", sleep)
    try:
        assert api.post("/auth/password/forgot", {"email": alice.email}).status_code == 202
        assert seen == [(True, 1)]
    finally:
        elsewhere.dispose()


def test_what_is_refused_at_once_does_not_wait(api: Api) -> None:
    began = time.monotonic()
    assert api.post("/auth/password/forgot", {"email": "no address"}).status_code == 422
    assert time.monotonic() - began < FLOOR


def test_looking_at_the_form_does_not_wait(client: PageClient) -> None:
    began = time.monotonic()
    assert client.get("/auth/forgot-password").status_code == 200
    assert time.monotonic() - began < FLOOR
