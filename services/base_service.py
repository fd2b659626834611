"""Verbs that every service shares: the unit of work, what happens after it, and broken constraints told as facts."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, CursorResult, Executable
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from models import db
from models.reading import Prepared, Reader, reader, use
from services.errors import Conflict, DomainError, NotFound

log = structlog.get_logger(__name__)

T = TypeVar("T")
#: What a purge that may find much takes at a time, so that no transaction is long.
PURGE_BATCH = 5_000

_by_constraint: dict[str, type[DomainError]] = {}


def constraint_means(name: str, error: type[DomainError]) -> None:
    """Say which domain error a broken constraint is: recognised by its name, never by text."""
    _by_constraint[name] = error


@contextmanager
def unit_of_work() -> Iterator[None]:
    """Commit if the block returns, roll back if it raises, then run what `after_commit` collected.

    The only place that commits (ADR-003). A DomainError with `keep_changes` is committed first and raised then.
    """
    try:
        yield
        _commit()
    except DomainError as error:
        if not error.keep_changes:
            _roll_back()
            raise
        _commit()
        _run_after_commit()
        raise
    except IntegrityError as error:
        _roll_back()
        raise broken_constraint(error) from error
    except BaseException:
        _roll_back()
        raise
    _run_after_commit()


@contextmanager
def attempt() -> Iterator[None]:
    """A unit of work's part whose refusal is answered, not raised: what was refused leaves nothing behind.

    Whoever catches a DomainError must have it pass through here first, or the commit at the door would keep half of it.
    """
    try:
        yield
        flush()
    except DomainError as error:
        if not error.keep_changes:
            _roll_back()
        raise
    except IntegrityError as error:
        _roll_back()
        raise broken_constraint(error) from error


@contextmanager
def reading() -> Iterator[None]:
    """Only read: on an AUTOCOMMIT connection, so that no BEGIN and no ROLLBACK travel to the server."""
    opened = Reader(db.engines["reading"])
    try:
        with use(opened):
            yield
    finally:
        if opened.serves_session:
            db.session.remove()
        opened.close()


@contextmanager
def probe() -> Iterator[None]:
    """A look at the database by somebody who can live with its failure: raised as it is, and the session goes on."""
    try:
        yield
    except SQLAlchemyError:
        _roll_back()
        raise


@contextmanager
def optional() -> Iterator[None]:
    """What a read would like to note but can do without: while reading, a database that refuses it is only logged."""
    try:
        yield
    except DBAPIError as error:
        if reader() is None:
            raise
        db.session.rollback()
        log.warning("note_not_kept", reason=type(error.orig).__name__)


def keep() -> None:
    """Commit what was noted before anything else was done: it stays, whatever becomes of the request."""
    if reader() is None:
        db.session.commit()


def fetch(statement: Executable, values: Mapping[str, Any]) -> CursorResult[*tuple[Any, ...]]:
    """Rows of plain columns, past the session's own bookkeeping: half the cost where each request pays it.

    What is pending in the session is not flushed first, so this is for what was read before anything changed.
    """
    return _connection().execute(statement, values)


def fetch_first(statement: Prepared, values: Mapping[str, Any]) -> Any:
    """As `fetch`, the first row or None, of a statement that never changes: what each request asks, at half of that."""
    return statement.first(_connection(), values)


def fetch_all(statement: Prepared, values: Mapping[str, Any]) -> list[Any]:
    """As `fetch_first`, every row."""
    return statement.all(_connection(), values)


def _connection() -> Connection:
    reads = reader()
    return db.session.connection() if reads is None else reads.connection


def after_commit(job: Callable[[], None]) -> None:
    """Run `job` once the unit of work is committed; never if it is rolled back. It must not raise."""
    db.session.info.setdefault("after_commit", []).append(job)


def write_last(row: Any, *, turn: int) -> None:
    """Write a row when everything else is written, just before the commit; never if the unit of work is rolled back.

    For rows that make others wait until the commit, by a lock that stands for `turn`. Whoever takes such locks last,
    and the lower first, keeps nobody for long and is in no deadlock. While reading, each statement commits by itself:
    the row is written at once.
    """
    if reader() is not None:
        db.session.add(row)
        flush()
        return
    db.session.info.setdefault("last", []).append((turn, row))


def broken_constraint(error: IntegrityError) -> DomainError:
    """The domain error a broken constraint stands for; a plain Conflict when nobody said."""
    name = getattr(getattr(error.orig, "diag", None), "constraint_name", None) or ""
    known = _by_constraint.get(name)
    if known is None:
        log.warning("constraint_without_meaning", constraint=name)
    return (known or Conflict)()


def flush() -> None:
    """Send what is pending now, to learn an id or a conflict while there is still something to decide."""
    try:
        db.session.flush()
    except IntegrityError as error:
        _roll_back()
        raise broken_constraint(error) from error


def insert_new(model: type[T], taken: type[DomainError], **values: Any) -> T:
    """Write a row at once; raise `taken` when a unique index has another one in its place.

    Not left to the constraint where that can be foreseen: PostgreSQL logs a broken one as an error, with its values.
    """
    row = insert_if_free(model, **values)
    if row is None:
        raise taken
    return row


def insert_if_free(model: type[T], **values: Any) -> T | None:
    """Write a row at once; None when a unique index has another one in its place, which takes a number all the same."""
    statement = insert(model).values(values).on_conflict_do_nothing().returning(model)
    return db.session.scalar(statement)


def found(row: T | None) -> T:
    """The row, or NotFound: also for what exists but is not the caller's."""
    if row is None:
        raise NotFound
    return row


def _commit() -> None:
    if last := db.session.info.pop("last", []):
        db.session.flush()
        db.session.add_all(row for _, row in sorted(last, key=itemgetter(0)))  # of one turn as they came
    db.session.commit()


def _roll_back() -> None:
    db.session.rollback()
    db.session.info.pop("after_commit", None)
    db.session.info.pop("last", None)


def _run_after_commit() -> None:
    jobs = db.session.info.pop("after_commit", [])
    for job in jobs:
        job()
