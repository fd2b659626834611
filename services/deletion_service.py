"""Leaving: an account is deleted on its owner's word, after a grace period in which he can change his mind."""

from datetime import datetime, timedelta

import structlog
from flask import current_app
from sqlalchemy import select

from models import User, db
from models.base import now
from models.enums import TokenPurpose
from services import (
    api_key_service,
    audit_service,
    link_service,
    role_service,
    security_service,
    session_service,
    throttle_service,
    user_service,
)
from services.base_service import reading, unit_of_work
from services.errors import Conflict, LastAdmin
from services.principal import Principal

log = structlog.get_logger(__name__)


class NothingToUndo(Conflict):
    """409: nobody asked for this account to be deleted."""

    default_message = "This account is not going to be deleted."


def grace() -> timedelta:
    """How long somebody can change his mind."""
    return timedelta(days=current_app.config["ACCOUNT_DELETION_DAYS"])


def request(*, by: Principal) -> datetime:
    """Have one's own account deleted after the grace period; returns when. Asked again it tells the same moment.

    The other sessions end and every API key dies at once; this session stays, to undo it or to fetch a copy of
    the data. Raises LastAdmin or AccountFrozen.
    """
    user = user_service.load_own(by)
    if user.deletes_at is not None:
        return user.deletes_at
    role_service.keep_an_admin(user)
    user.deletes_at = now() + grace()
    session_service.end_all(user.id, keep=by.session_id)
    api_key_service.revoke_all(user.id)
    link_service.forget_from_within(user)
    token = link_service.make_restoring(user, until=user.deletes_at)
    audit_service.record(
        "account:delete_request", actor_id=user.id, after={"deletes_at": user.deletes_at.isoformat()}
    )
    security_service.tell(user, "deletion_requested", token=token, deletes_at=user.deletes_at)
    return user.deletes_at


def undo(*, by: Principal) -> User:
    """Keep one's account after all. Raises NothingToUndo."""
    user = user_service.load(by.user_id)
    if user.deletes_at is None:
        raise NothingToUndo
    return _keep(user)


def undo_by_link(token: str) -> User:
    """Keep an account by the link in the receipt, without signing in. Raises LinkExpired, NotFound or RateLimited."""
    throttle_service.spend(throttle_service.LINK_BY_ADDRESS, throttle_service.address())
    row = link_service.use(token, TokenPurpose.RESTORE_ACCOUNT)
    return _keep(user_service.load(row.user_id or 0))


def erase_due() -> int:
    """Delete the accounts whose time has come; returns how many. For the worker: commits one by one.

    Killed half-way, the next run finds what is left. One that can't be deleted does not keep the others.
    """
    statement = select(User.id).where(User.deletes_at <= now()).order_by(User.deletes_at)
    with reading():
        due = db.session.scalars(statement).all()
    return sum(_erase_one(user_id) for user_id in due)


def _keep(user: User) -> User:
    user.deletes_at = None
    link_service.forget_from_within(user)
    audit_service.record("account:delete_undo", actor_id=user.id)
    security_service.tell(user, "deletion_undone")
    return user


def _erase_one(user_id: int) -> bool:
    try:
        with unit_of_work():
            user = _claim(user_id)
            if user is not None:
                user_service.delete(user.id, by=None, reason="asked for by its owner")
            return user is not None
    except LastAdmin:
        log.warning("deletion_waits_for_another_admin", user_id=user_id)
    except Exception:  # the next account is not to wait for this one
        log.exception("deletion_failed", user_id=user_id)
    return False


def _claim(user_id: int) -> User | None:
    """The account, locked; None when another worker has it, or its owner has just changed his mind."""
    return db.session.scalar(
        select(User)
        .where(User.id == user_id, User.deletes_at <= now())
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
