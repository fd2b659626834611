"""Files of pictures that have to go: asked for in the transaction of the cause, removed by the worker afterwards.

So an account is deleted, and a picture replaced, while the store is away. A file is removed at least once: a removal is
leased in a transaction of its own, and when a worker dies in between, the lease runs out. The database's clock counts.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import Text, bindparam, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert

from models import User, db
from models.picture_removal import PictureRemoval
from services import media_service
from services.base_service import PURGE_BATCH, unit_of_work
from services.errors import Unavailable
from services.mail_service import CHANNEL

log = structlog.get_logger(__name__)

#: An upload that has not become somebody's picture by then never does.
PROMISE = timedelta(hours=1)
#: Longer than the longest removal.
LEASE = timedelta(minutes=1)
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 15, 360
#: In a round of the worker, so that mails do not wait for long.
MOST_AT_ONCE = 20

_IS_SOMEBODYS = exists().where(User.picture == PictureRemoval.name)


@dataclass(frozen=True, slots=True)
class _Lease:
    """A removal that is ours for a while; `attempt` counts from 1."""

    name: str
    attempt: int


def promise(name: str) -> None:
    """Have the files of `name` removed in an hour, unless it is called off: before the first of them is written."""
    db.session.execute(insert(PictureRemoval).values(name=name, available_at=func.now() + PROMISE))


def call_off(name: str) -> None:
    """Keep the files: the picture becomes somebody's in this transaction. Raises Unavailable when it is too late."""
    statement = delete(PictureRemoval).where(PictureRemoval.name == name, PictureRemoval.attempts == 0)
    if db.session.scalar(statement.returning(PictureRemoval.name)) is None:
        raise Unavailable


def ask(name: str) -> None:
    """Have the files of `name` removed once this transaction is committed."""
    db.session.execute(insert(PictureRemoval).values(name=name).on_conflict_do_nothing())
    db.session.execute(select(func.pg_notify(CHANNEL, "")))  # the worker hears it with the commit


def ask_for_nobodys(names: Collection[str]) -> int:
    """Of these pictures have those removed that are nobody's; returns how many."""
    asked, listed = 0, list(names)
    for start in range(0, len(listed), PURGE_BATCH):
        some = listed[start : start + PURGE_BATCH]
        given = func.unnest(bindparam("names", some, ARRAY(Text))).column_valued("given")
        nobodys = select(given).where(~exists().where(User.picture == given))
        statement = insert(PictureRemoval).from_select(["name"], nobodys).on_conflict_do_nothing()
        asked += len(db.session.scalars(statement.returning(PictureRemoval.name)).all())
    # Became somebody's in that very moment.
    db.session.execute(delete(PictureRemoval).where(_IS_SOMEBODYS))
    return asked


def remove_due() -> int:
    """Remove files whose time has come; returns of how many pictures. For the worker: commits one by one.

    When one can't be removed the store is taken to be away, and all wait: 15 seconds at first, 6 minutes at most.
    """
    removed = 0
    while removed < MOST_AT_ONCE:
        lease = _lease_next()
        if lease is None or not _remove(lease):
            break
        removed += 1
    return removed


def waiting() -> int:
    """How many pictures wait to be removed though they were tried."""
    counted = db.session.scalar(select(func.count()).where(PictureRemoval.attempts > 0))
    return counted or 0


def _lease_next() -> _Lease | None:
    """The removal tried least often, so that one that always fails does not keep the others."""
    due = (
        select(PictureRemoval.name)
        .where(PictureRemoval.available_at <= func.now(), ~_IS_SOMEBODYS)
        .order_by(PictureRemoval.attempts, PictureRemoval.available_at)
        .limit(1)
        .with_for_update(skip_locked=True, of=PictureRemoval)
        .scalar_subquery()
    )
    with unit_of_work():
        row = db.session.execute(
            update(PictureRemoval)
            .where(PictureRemoval.name == due)
            .values(attempts=PictureRemoval.attempts + 1, available_at=func.now() + LEASE)
            .returning(PictureRemoval.name, PictureRemoval.attempts)
        ).first()
    return _Lease(*row) if row else None


def _remove(lease: _Lease) -> bool:
    """Remove one picture's files; False when that failed, and all wait."""
    try:
        media_service.remove(lease.name)
    except Unavailable:  # the log has the reason
        _put_off(lease)
        return False
    except Exception:  # mails and exports are not to wait for this
        log.exception("picture_removal_failed", picture=lease.name)
        _put_off(lease)
        return False
    with unit_of_work():
        db.session.execute(delete(PictureRemoval).where(PictureRemoval.name == lease.name))
    return True


def _put_off(lease: _Lease) -> None:
    wait = timedelta(seconds=min(FIRST_WAIT_SECONDS << min(lease.attempt - 1, 10), LONGEST_WAIT_SECONDS))
    is_due = PictureRemoval.available_at <= func.now()
    with unit_of_work():
        db.session.execute(
            update(PictureRemoval)
            .where(is_due | (PictureRemoval.name == lease.name))
            .values(available_at=func.now() + wait)
        )
    log.warning("picture_removals_wait", attempt=lease.attempt, wait_seconds=int(wait.total_seconds()))
