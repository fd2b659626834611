"""What the tests of guessing share: wrong passwords from anywhere, and what the counters hold."""

from typing import Any

from flask import Flask
from sqlalchemy import text

from models import db
from tests.clients import Api, PageClient
from tests.factories import Person

WRONG = "wrong horse battery"


def guess(api: Api, email: str, password: str = WRONG, *, address: str = "203.0.113.7") -> Any:
    """A sign-in by a program at an address."""
    body = {"email": email, "password": password}
    return api.post("/auth/login", body, environ_overrides={"REMOTE_ADDR": address})


def guesses(api: Api, email: str, tries: int) -> list[int]:
    """The statuses of so many wrong passwords."""
    return [guess(api, email).status_code for _ in range(tries)]


def besiege(api: Api, email: str, *, tries: int = 11, addresses: int = 2) -> None:
    """Wrong passwords from several addresses in turn, until unknown devices have to wait."""
    answers = [guess(api, email, address=f"198.51.{n % addresses}.9") for n in range(tries)]
    assert answers[-1].status_code == 429


def sign_in(client: PageClient, person: Person, password: str | None = None) -> int:
    """The status of the form: 303 for a sign-in."""
    fields = {"email": person.email, "password": password or person.password}
    return client.submit("/auth/login", **fields).status_code


def counters(app: Flask) -> list[Any]:
    """Every row of failures in a row: the unknown devices' first, then the larger count."""
    with app.extensions["counter_engine"].connect() as connection:
        query = text("SELECT * FROM password_tries ORDER BY length(device), failures DESC")
        return list(connection.execute(query).all())


def failures(app: Flask) -> list[int]:
    """The counts alone."""
    return [row.failures for row in counters(app)]


def events(app: Flask, action: str) -> int:
    """How often this was recorded."""
    with app.app_context():
        query = text("SELECT count(*) FROM audit_events WHERE action = :action")
        return int(db.session.scalar(query, {"action": action}) or 0)
