"""What is yours, at a glance; and for whoever looks after accounts, the place in numbers."""

from dataclasses import dataclass

from sqlalchemy import func, select, true

from models import OutboxMail, User, db
from models.base import AnyRow, AnySelect
from models.enums import MailStatus
from services import audit_service, session_service
from services.base_service import found
from services.permissions import USERS_READ
from services.principal import Principal

LATEST_EVENTS = 5


@dataclass(frozen=True, slots=True)
class Counts:
    """The place in numbers."""

    users: int
    unverified: int
    suspended: int
    mails_queued: int
    mails_failed: int


@dataclass(frozen=True, slots=True)
class Dashboard:
    """`user` is the account with `devices_count`; `events` the newest own ones; `counts` None for most people."""

    user: AnyRow
    events: list[AnyRow]
    counts: Counts | None


def of(by: Principal) -> Dashboard:
    """The dashboard of whoever is signed in. Two statements."""
    may_count = by.can(USERS_READ)
    row = found(db.session.execute(_with_counts(_account(by)) if may_count else _account(by)).first())
    return Dashboard(
        user=row,
        events=audit_service.own_latest(by.user_id, LATEST_EVENTS),
        counts=Counts(**{name: getattr(row, name) for name in Counts.__slots__}) if may_count else None,
    )


def _account(by: Principal) -> AnySelect:
    return (
        select(
            User.id,
            User.email,
            User.name,
            User.role,
            User.email_verified,
            User.created_at,
            session_service.count_of(by.user_id).label("devices_count"),
        )
        .select_from(User)
        .where(User.id == by.user_id)
    )


def _with_counts(statement: AnySelect) -> AnySelect:
    users = select(
        func.count().label("users"),
        func.count().filter(User.is_active, ~User.email_verified).label("unverified"),
        func.count().filter(~User.is_active).label("suspended"),
    ).select_from(User)
    mails = select(
        func.count().filter(OutboxMail.status == MailStatus.QUEUED).label("mails_queued"),
        func.count().filter(OutboxMail.status == MailStatus.FAILED).label("mails_failed"),
    ).where(OutboxMail.status != MailStatus.SENT)
    counted, mailed = users.subquery(), mails.subquery()
    return statement.add_columns(*counted.c, *mailed.c).join(counted, true()).join(mailed, true())
