"""What the tests of signing in elsewhere share: the way there and back, and who is connected with whom."""

from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import Flask
from sqlalchemy import text

from models import db
from services.base_service import unit_of_work
from tests.clients import Answer, PageClient
from tests.factories import Person
from tests.issuer import FakeIssuer

HERE = "http://localhost"


def way_out(client: PageClient, path: str = "/auth/oidc/start", **options: Any) -> str:
    """The address at the issuer that the browser is sent to."""
    answer = client.get(path, **options)
    assert answer.status_code == 303, answer.get_data(as_text=True)
    return str(answer.headers["Location"])


def come_back(client: PageClient, address: str, **changes: str | None) -> Answer:
    """Follow the issuer's redirect, with parameters changed, or left out where None."""
    parts = urlsplit(address)
    told = {name: values[0] for name, values in parse_qs(parts.query).items()} | changes
    kept = {name: value for name, value in told.items() if value is not None}
    return client.get(f"{parts.path}?{urlencode(kept)}")


def sign_in(client: PageClient, issuer: FakeIssuer, path: str = "/auth/oidc/start") -> Answer:
    """There and back."""
    return come_back(client, issuer.authorize(way_out(client, path)))


def identities(app: Flask) -> list[tuple[int, str, str]]:
    """Who is connected: account, issuer, subject."""
    with app.app_context():
        rows = db.session.execute(text("SELECT user_id, issuer, subject FROM identities ORDER BY id"))
        return [(row.user_id, row.issuer, row.subject) for row in rows]


def connect(app: Flask, person: Person, issuer: FakeIssuer, subject: str = "auth0|alice") -> str:
    """Connect an account without the way there and back; the identity's id."""
    statement = text(
        "INSERT INTO identities (user_id, issuer, subject, email) VALUES (:user, :issuer, :subject, :email)"
        " RETURNING public_id::text"
    )
    values = {"user": person.id, "issuer": issuer.url, "subject": subject, "email": "there@example.org"}
    with app.app_context(), unit_of_work():
        return str(db.session.execute(statement, values).scalar_one())


def column(app: Flask, person_id: int, name: str) -> Any:
    """One column of an account."""
    with app.app_context():
        return db.session.execute(
            text(f"SELECT {name} FROM users WHERE id = :id"), {"id": person_id}
        ).scalar()


def run(app: Flask, statement: str, **values: Any) -> None:
    """One statement, committed."""
    with app.app_context(), unit_of_work():
        db.session.execute(text(statement), values)


def actions(app: Flask) -> list[str]:
    """What the audit log says, the oldest first."""
    with app.app_context():
        return list(db.session.scalars(text("SELECT action FROM audit_events ORDER BY id")))
