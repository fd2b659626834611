"""Suspension: why somebody may not sign in, and until when.

`is_active` is the truth; an end that has come changes it: by the worker, or by the next sign-in.
"""

from datetime import datetime

from sqlalchemy import select

from models import User, db
from models.base import AnyRow, now
from services import audit_service, link_service, mail_service, role_service, session_service
from services.errors import Invalid
from services.principal import Principal

NO_REASON = "No reason was given."


def find(user_id: int) -> AnyRow | None:
    """Since when, why and until when an account is suspended: `suspended_at`, `suspension_reason`, `suspended_until`.

    None when it is not.
    """
    statement = select(User.suspended_at, User.suspension_reason, User.suspended_until)
    return db.session.execute(statement.where(User.id == user_id, ~User.is_active)).first()


def begin(user: User, reason: str, *, until: datetime | None, by: Principal | None) -> None:
    """Bar somebody from signing in, end his sessions, tell him why. Raises LastAdmin, or Invalid for an end gone by."""
    moment = now()
    if until is not None and until <= moment:
        raise Invalid.field("until", "This is in the past", "past")
    role_service.keep_an_admin(user)
    user.is_active, user.suspended_at, user.suspension_reason = False, moment, reason
    user.suspended_until = until
    session_service.end_all(user.id)
    link_service.forget_all(user.id)
    audit_service.record(
        "account:suspend",
        actor_id=by.user_id if by else None,
        target_id=user.id,
        reason=reason,
        until=until.isoformat() if until else None,
    )
    mail_service.send("suspended", to=user.email, name=user.name, reason=reason, until=until)


def hold(user: User, reason: str) -> None:
    """Bar somebody until an administrator has looked, and tell nobody: whose account it is is in question.

    Even the last administrator: the command line lets in again.
    """
    user.is_active, user.suspended_at, user.suspension_reason = False, now(), reason
    user.suspended_until = None
    audit_service.record("account:suspend", actor_id=None, target_id=user.id, reason=reason)


def end(user: User, *, by: Principal | None) -> None:
    """Let somebody in again, and tell him."""
    _end(user)
    audit_service.record("account:reinstate", actor_id=by.user_id if by else None, target_id=user.id)


def end_if_over(user: User) -> None:
    """Let somebody in again whose suspension has come to its end: at the door, before the worker has come by.

    Locks the account first, so that a suspension being made longer in this instant is not undone.
    """
    if not _is_over(user):
        return
    db.session.refresh(user, with_for_update=True)
    if _is_over(user):
        _end_by_date(user)


def end_due() -> int:
    """Let everybody in again whose suspension has come to its end; returns how many. For the worker, once an hour."""
    due = select(User).where(User.suspended_until <= now()).order_by(User.id)
    users = db.session.scalars(due.with_for_update(skip_locked=True)).all()
    for user in users:
        _end_by_date(user)
    return len(users)


def _is_over(user: User) -> bool:
    return user.suspended_until is not None and user.suspended_until <= now()


def _end_by_date(user: User) -> None:
    until = user.suspended_until
    _end(user)
    audit_service.record(
        "account:reinstate",
        actor_id=None,
        target_id=user.id,
        until=until.isoformat() if until else None,
    )


def _end(user: User) -> None:
    user.is_active, user.suspended_at, user.suspension_reason = True, None, None
    user.suspended_until = None
    mail_service.send("reinstated", to=user.email, name=user.name)
