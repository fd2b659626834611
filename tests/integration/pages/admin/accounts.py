"""What the tests of accounts under administration share: what the database holds of one, and what a page says."""

import re
from typing import Any

from flask import Flask
from sqlalchemy import func, select

from models import AuditEvent, OutboxMail, User, UserSession, db
from tests.clients import PageClient
from tests.factories import Person


def user_of(app: Flask, person_id: int) -> User:
    """The account as it stands now."""
    with app.app_context():
        return db.session.get_one(User, person_id)


def is_there(app: Flask, person_id: int) -> bool:
    """Whether the account is still kept."""
    with app.app_context():
        return db.session.get(User, person_id) is not None


def mails_to(app: Flask, address: str) -> list[str]:
    """The kinds of the mails on their way to an address."""
    with app.app_context():
        return sorted(db.session.scalars(select(OutboxMail.kind).where(OutboxMail.to_address == address)))


def events(app: Flask, action: str) -> list[dict[str, Any]]:
    """Actor, target and details of every event of this kind."""
    with app.app_context():
        found = db.session.scalars(select(AuditEvent).where(AuditEvent.action == action))
        return [{"actor": event.actor_id, "target": event.target_id, **event.details} for event in found]


def live_sessions(app: Flask, person: Person) -> int:
    """How many sessions an account has."""
    with app.app_context():
        mine = select(func.count()).select_from(UserSession).where(UserSession.user_id == person.id)
        return db.session.scalar(mine) or 0


def flash_after(client: PageClient, response: Any) -> str:
    """What the page that a form leads to says."""
    assert response.status_code == 303
    page = client.get(response.location).text
    found = re.search(r'role="(?:status|alert)">.*?<p>(.*?)</p>', page, re.DOTALL)
    return found[1] if found else ""
