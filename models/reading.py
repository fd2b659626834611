"""What every request reads, past what SQLAlchemy does anew for each statement and session (ADR-014).

While a request only reads, it has one connection in AUTOCOMMIT, taken when first asked for; the session uses the same.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import psycopg2
from sqlalchemy import Select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

Process = Callable[[Any], Any]


class Reader:
    """The connection of whoever only reads."""

    __slots__ = ("_connection", "_engine", "serves_session")

    def __init__(self, engine: Engine | Connection) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        #: The session has taken part: it has to let go first.
        self.serves_session = False

    @property
    def connection(self) -> Connection:
        """The same until the end."""
        if self._connection is None:
            self._connection = (
                self._engine if isinstance(self._engine, Connection) else self._engine.connect()
            )
        return self._connection

    def for_session(self) -> Connection:
        """The connection, for the session."""
        self.serves_session = True
        return self.connection

    def close(self) -> None:
        """Give the connection back to its pool."""
        if self._connection is not None and self._connection is not self._engine:
            self._connection.close()


_reader: ContextVar[Reader | None] = ContextVar("reader", default=None)


def reader() -> Reader | None:
    """The reader of this context; None where something may be written."""
    return _reader.get()


@contextmanager
def use(opened: Reader) -> Iterator[None]:
    """Read with this one for the block."""
    token = _reader.set(opened)
    try:
        yield
    finally:
        _reader.reset(token)


class Prepared:
    """A statement that never changes but for its values: its text is made once, and it goes straight to the driver.

    Of plain columns only. Saves two fifths of what the statement costs this process.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        self.statement = statement
        self._text = ""
        self._constants: dict[str, Any] = {}
        self._dress: dict[str, Process] = {}
        self._undress: list[tuple[int, Process]] = []
        columns = [column.key or "" for column in statement.selected_columns]
        name_them: Any = namedtuple  # mypy wants its names written out
        self._row: Callable[[Iterable[Any]], Any] = name_them("Row", columns)._make

    def first(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """The first row, with its columns by name, or None. Raises SQLAlchemy's errors, as it would itself."""
        rows = self._run(connection, values, most=1)
        return rows[0] if rows else None

    def all(self, connection: Connection, values: Mapping[str, Any]) -> list[Any]:
        """Every row, as `first`."""
        return self._run(connection, values, most=None)

    def _run(self, connection: Connection, values: Mapping[str, Any], *, most: int | None) -> list[Any]:
        if not self._text:
            self._prepare(connection)
        sent = {**self._constants, **values}
        for name, process in self._dress.items():
            sent[name] = process(sent[name])
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self._text, sent)
            found = cursor.fetchall() if most is None else cursor.fetchmany(most)
        except psycopg2.Error as error:
            raise _told(error, self._text, connection) from error
        finally:
            cursor.close()
        for number, process in self._undress:
            found = [(*row[:number], process(row[number]), *row[number + 1 :]) for row in found]
        return [self._row(row) for row in found]

    def _prepare(self, connection: Connection) -> None:
        dialect = connection.dialect
        compiled = self.statement.compile(dialect=dialect)
        processes = {
            name: process
            for name, bind in compiled.binds.items()
            if (process := bind.type.dialect_impl(dialect).bind_processor(dialect))
        }
        given = {name for name, bind in compiled.binds.items() if bind.required}
        constants = {name: value for name, value in compiled.params.items() if name not in given}
        self._constants = {
            name: processes[name](value) if name in processes else value for name, value in constants.items()
        }
        self._dress = {name: process for name, process in processes.items() if name in given}
        self._undress = [
            (number, process)
            for number, column in enumerate(self.statement.selected_columns)
            if (process := column.type.dialect_impl(dialect).result_processor(dialect, None))
        ]
        self._text = str(compiled)


def _told(error: psycopg2.Error, text: str, connection: Connection) -> Exception:
    dialect, lost = connection.dialect, connection.connection.dbapi_connection
    is_lost = lost is None or dialect.is_disconnect(error, lost, None)  # type: ignore[arg-type]  # the driver's error
    if is_lost:
        connection.invalidate(error)
    return DBAPIError.instance(
        text,
        None,
        error,
        psycopg2.Error,
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=dialect,
    )
