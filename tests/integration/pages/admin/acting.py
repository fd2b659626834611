"""Signing in as somebody else, the way administrators do, for the tests of it."""

from typing import Any

from flask import Flask
from sqlalchemy import select

from models import AuditEvent, UserSession, db
from tests.clients import Answer, PageClient
from tests.factories import Person

START, END = "account:impersonation:start", "account:impersonation:end"
REASON = "He wrote that his picture does not show."


def sign_in_as(client: PageClient, person: Person, reason: str = REASON) -> Answer:
    """Through the confirming page."""
    return client.submit(f"/admin/users/{person.id}/impersonate", reason=reason)


def stop(client: PageClient) -> Answer:
    """By the button of the banner."""
    return client.submit("/impersonation/stop", "/dashboard")


def who_is(client: PageClient) -> str | None:
    """The address of whoever this browser is signed in as; None for nobody."""
    answer = client.get("/auth/profile", headers={"Accept": "application/json"})
    return answer.json["data"]["email"] if answer.status_code == 200 else None


def impersonations(app: Flask) -> list[UserSession]:
    """Every session in which somebody is signed in as somebody else."""
    with app.app_context():
        return list(db.session.scalars(select(UserSession).where(UserSession.impersonator_id.is_not(None))))


def told(app: Flask, action: str) -> list[dict[str, Any]]:
    """Actor, target and details of every event of this kind, the oldest first."""
    with app.app_context():
        found = db.session.scalars(
            select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.id)
        )
        return [{"actor": event.actor_id, "target": event.target_id, **event.details} for event in found]
