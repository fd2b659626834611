"""Copies of one's own data: asked for, made by the worker, kept encrypted for a week, handed to their owner alone."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from flask import current_app
from sqlalchemy import delete, func, select, update

from models import User, db
from models.base import AnyRow, now
from models.data_export import DataExport
from models.enums import ExportStatus, TokenPurpose
from services import (
    audit_service,
    crypto,
    link_service,
    own_data,
    security_service,
    throttle_service,
    user_service,
)
from services.base_service import found, reading, unit_of_work
from services.errors import NotFound, Unavailable
from services.mail_service import CHANNEL
from services.principal import Principal

log = structlog.get_logger(__name__)

MOST_ATTEMPTS = 5
RETRY_AFTER = timedelta(minutes=1)
#: The first half of the advisory lock on a copy that is being made; the second is made of its id.
CLAIM = 0x6578706F


def life() -> timedelta:
    """How long a copy is kept."""
    return timedelta(days=current_app.config["DATA_EXPORT_DAYS"])


def request(*, by: Principal) -> DataExport:
    """Ask for a copy; it replaces the former one. One that is being made is told instead.

    Raises RateLimited or AccountFrozen.
    """
    user_service.load_own(by)  # locked: one at a time
    waiting = db.session.scalar(
        select(DataExport).where(DataExport.user_id == by.user_id, DataExport.status == ExportStatus.PENDING)
    )
    if waiting is not None:
        return waiting
    throttle_service.spend(throttle_service.EXPORT, str(by.user_id))
    db.session.execute(delete(DataExport).where(DataExport.user_id == by.user_id))
    row = DataExport(user_id=by.user_id, status=ExportStatus.PENDING, expires_at=now() + life())
    db.session.add(row)
    db.session.flush()  # the id goes into the answer
    audit_service.record("account:export", actor_id=by.user_id)
    db.session.execute(select(func.pg_notify(CHANNEL, "")))  # the worker hears it with the commit
    return row


def cancel(user_id: int) -> bool:
    """Drop the copy of an account, made or not; tells whether there was one. Its link is worth nothing then."""
    dropped = db.session.scalar(
        delete(DataExport).where(DataExport.user_id == user_id).returning(DataExport.id)
    )
    return dropped is not None


def find(user_id: int) -> AnyRow | None:
    """How far somebody's copy is: `status`, `created_at`, `expires_at`. None when there is none, or it has expired."""
    statement = select(DataExport.status, DataExport.created_at, DataExport.expires_at).where(
        DataExport.user_id == user_id, DataExport.expires_at > now()
    )
    return db.session.execute(statement).first()


def download(*, by: Principal) -> bytes:
    """One's own copy, as JSON. Raises NotFound."""
    content = _content(by.user_id)
    audit_service.record("account:export:download", actor_id=by.user_id)
    return content


def download_by_link(token: str) -> bytes:
    """The copy, by the link in the mail, once. Raises LinkExpired, NotFound or RateLimited."""
    throttle_service.spend(throttle_service.LINK_BY_ADDRESS, throttle_service.address())
    row = link_service.use(token, TokenPurpose.DOWNLOAD_EXPORT)
    audit_service.record("account:export:download", actor_id=None, target_id=row.user_id, by="link")
    return _content(row.user_id or 0)


def make_due(*, stopping: Callable[[], bool] = lambda: False) -> int:
    """Make the copies that wait; returns how many. For the worker: commits one by one, and may be killed anywhere."""
    statement = (
        select(DataExport.id)
        .where(
            DataExport.status == ExportStatus.PENDING,
            DataExport.created_at + DataExport.attempts * RETRY_AFTER <= now(),
        )
        .order_by(DataExport.created_at)
    )
    with reading():
        waiting = db.session.scalars(statement).all()
    return sum(_make_one(export_id) for export_id in waiting if not stopping())


def purge() -> int:
    """Delete copies that have expired; returns how many."""
    statement = delete(DataExport).where(DataExport.expires_at <= now()).returning(DataExport.id)
    return len(db.session.scalars(statement).all())


def _content(user_id: int) -> bytes:
    encrypted = db.session.scalar(
        select(DataExport.content_encrypted).where(
            DataExport.user_id == user_id, DataExport.expires_at > now()
        )
    )
    try:
        return crypto.decrypt(found(encrypted))
    except crypto.Undecipherable:
        raise NotFound("This copy was made under a key that is gone. Ask for another.") from None


def _make_one(export_id: UUID) -> bool:
    try:
        with unit_of_work():
            return _make(export_id, now())
    except (
        Unavailable
    ):  # where pictures are kept; the log has the reason, and the copy waits until that is back
        _count_failure(export_id)
        return False
    except Exception:  # neither the next copy nor the mails are to wait for this one
        log.exception("export_failed", export_id=str(export_id))
        if _count_failure(export_id) >= MOST_ATTEMPTS:
            _give_up(export_id)
        return False


def _make(export_id: UUID, moment: datetime) -> bool:
    if not db.session.scalar(select(func.pg_try_advisory_xact_lock(CLAIM, func.hashtext(str(export_id))))):
        return False  # another worker has it
    waiting = select(DataExport).where(DataExport.id == export_id, DataExport.status == ExportStatus.PENDING)
    owner = waiting.with_only_columns(DataExport.user_id).scalar_subquery()
    of_owner = select(User).where(User.id == owner)
    user = db.session.scalar(of_owner)
    if user is None:
        return False  # it was replaced
    # No row is held meanwhile: whoever says "this was not me", or leaves, is not to wait for a copy.
    copy = own_data.copy_of(user, at=moment)
    user = db.session.scalar(of_owner.with_for_update().execution_options(populate_existing=True))
    export = db.session.scalar(waiting.with_for_update())
    if user is None or export is None or user.frozen_at is not None:
        return False  # called off
    export.content_encrypted = crypto.encrypt(json.dumps(copy, ensure_ascii=False, indent=1).encode())
    export.status, export.expires_at = ExportStatus.READY, moment + life()
    token = link_service.make_download(user, until=export.expires_at)
    security_service.tell(user, "export_ready", token=token, expires_at=export.expires_at)
    return True


def _count_failure(export_id: UUID) -> int:
    """Put the next try off by a minute for each that failed; returns how many did."""
    with unit_of_work():
        attempts = db.session.scalar(
            update(DataExport)
            .where(DataExport.id == export_id, DataExport.status == ExportStatus.PENDING)
            .values(attempts=DataExport.attempts + 1)
            .returning(DataExport.attempts)
        )
    return attempts or 0


def _give_up(export_id: UUID) -> None:
    with unit_of_work():
        db.session.execute(
            update(DataExport).where(DataExport.id == export_id).values(status=ExportStatus.FAILED)
        )
