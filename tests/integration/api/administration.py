"""What the tests of administration over the API share: what the database holds, and the error of an answer."""

from typing import Any

from flask import Flask
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from models import AuditEvent, OutboxMail, User, db


def user_of(app: Flask, person_id: int) -> User | None:
    """The account as it stands now."""
    with app.app_context():
        return db.session.get(User, person_id)


def mails_to(app: Flask, address: str) -> list[str]:
    """The kinds of the mails on their way to an address."""
    with app.app_context():
        return sorted(db.session.scalars(select(OutboxMail.kind).where(OutboxMail.to_address == address)))


def events_about(app: Flask, person_id: int) -> list[str]:
    """What the audit log says happened to an account, oldest first."""
    with app.app_context():
        found = select(AuditEvent.action).where(AuditEvent.target_id == person_id).order_by(AuditEvent.id)
        return list(db.session.scalars(found))


def count(app: Flask, model: type[Any], **columns: Any) -> int:
    """How many rows have these values."""
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(model).filter_by(**columns)) or 0


def fault(response: TestResponse) -> dict[str, Any]:
    """The error of an answer."""
    told: dict[str, Any] = response.get_json()["error"]
    return told
