"""The audit log: who did what to whom, from where. Written in the transaction of its cause, so both are or neither.

Actions are `area:thing:what` in the vocabulary below (docs/audit.md).
"""

import csv
import io
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from models import AuditEvent, User, db
from models.base import AnySelect
from services.origin import origin
from services.paging import Listing, page_of
from services.schemas.audit import AuditQuery

ACTIONS: dict[str, str] = {
    "account:register": "Registered",
    "account:setup": "Set up as the first administrator",
    "account:create": "Account created",
    "account:invite": "Invited",
    "account:invite:accept": "Invitation accepted",
    "account:update": "Account changed",
    "account:role:change": "Role changed",
    "account:suspend": "Suspended",
    "account:reinstate": "Reinstated",
    "account:delete": "Account deleted",
    "account:login:success": "Signed in",
    "account:login:failure": "Sign-in refused",
    "account:logout": "Signed out",
    "account:session:end": "Device signed out",
    "account:session:end_others": "Other devices signed out",
    "account:token:reuse": "Refresh token used twice; session ended",
    "account:email:verify": "E-mail address confirmed",
    "account:email:change_request": "Change of e-mail address asked for",
    "account:email:change": "E-mail address changed",
    "account:password:change": "Password changed",
    "account:password:change_refused": "Change of password refused",
    "account:password:reset_request": "Password reset asked for",
    "account:password:reset": "Password reset",
    "mail:resend": "Mail sent again",
}
CSV_COLUMNS = ("created_at", "action", "actor_id", "target_id", "ip", "user_agent", "request_id", "details")
CSV_ROWS = 10_000

_actor, _target = aliased(User), aliased(User)


def record(action: str, *, actor_id: int | None, target_id: int | None = None, **details: Any) -> None:
    """Add an event to the transaction. `details` are plain JSON: before, after, reason; never a secret."""
    if action not in ACTIONS:
        raise ValueError(f"unknown audit action {action}")
    source = origin()
    db.session.add(
        AuditEvent(
            action=action,
            actor_id=actor_id,
            target_id=target_id if target_id is not None else actor_id,
            ip=source.address,
            user_agent=source.user_agent,
            request_id=source.request_id,
            details={name: value for name, value in details.items() if value is not None},
        )
    )


def page(query: AuditQuery) -> Listing:
    """Events, newest first unless asked otherwise, with the names of the people in them."""
    sorts = {"created_at": AuditEvent.created_at, "id": AuditEvent.id}
    return page_of(_select(query), query, sorts=sorts, key=AuditEvent.id)


def page_about(user_id: int, query: AuditQuery) -> Listing:
    """What concerns one account. Where somebody sees his own, the schema leaves out who else acted and from where."""
    sorts = {"created_at": AuditEvent.created_at, "id": AuditEvent.id}
    statement = _select(query).where(AuditEvent.target_id == user_id)
    return page_of(statement, query, sorts=sorts, key=AuditEvent.id)


def as_csv(query: AuditQuery) -> str:
    """The newest 10,000 events of the filter as CSV; cells that a spreadsheet would run as a formula are defused."""
    rows = db.session.execute(_select(query).order_by(AuditEvent.id.desc()).limit(CSV_ROWS)).all()
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(CSV_COLUMNS)
    writer.writerows([cell(getattr(row, column)) for column in CSV_COLUMNS] for row in rows)
    return out.getvalue()


def cell(value: Any) -> str:
    """A CSV cell: a leading = + - @ or control character is prefixed, so that nothing is run (ASVS 1.2.10)."""
    text = (
        value.isoformat().replace("+00:00", "Z")
        if hasattr(value, "isoformat")
        else str(value if value is not None else "")
    )
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def _select(query: AuditQuery) -> AnySelect:
    statement = (
        select(
            AuditEvent.id,
            AuditEvent.action,
            AuditEvent.actor_id,
            _actor.name.label("actor_name"),
            AuditEvent.target_id,
            _target.name.label("target_name"),
            AuditEvent.ip,
            AuditEvent.user_agent,
            AuditEvent.request_id,
            AuditEvent.details,
            AuditEvent.created_at,
            func.coalesce(AuditEvent.actor_id == AuditEvent.target_id, False).label("by_you"),
        )
        .outerjoin(_actor, _actor.id == AuditEvent.actor_id)
        .outerjoin(_target, _target.id == AuditEvent.target_id)
    )
    if query.action:
        statement = statement.where(
            (AuditEvent.action == query.action)
            | AuditEvent.action.startswith(f"{query.action}:", autoescape=True)
        )
    if query.actor_id:
        statement = statement.where(AuditEvent.actor_id == query.actor_id)
    if query.target_id:
        statement = statement.where(AuditEvent.target_id == query.target_id)
    if query.since:
        statement = statement.where(AuditEvent.created_at >= query.since)
    if query.until:
        statement = statement.where(AuditEvent.created_at < query.until)
    return statement
