"""Connections to the server: dead ones told before they are used, silent ones given up in time (ADR-005)."""

import select
import threading
import time
from contextlib import suppress
from itertools import cycle
from typing import Any

import psycopg2
from psycopg2.extensions import (
    POLL_OK,
    POLL_READ,
    STATUS_BEGIN,
    STATUS_READY,
    connection,
    set_wait_callback,
)
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DisconnectionError

CONNECT_SECONDS = 3.0
#: A silent server is asked again after this, by one caller, who waits so long for it; the others are told at once.
ASK_AGAIN_SECONDS = 1.0
SCOUT_SECONDS = 1.5


def writing(engine: Engine) -> Engine:
    """The same engine and connections, in transactions, where `engine` itself runs each statement by itself.

    Connections rest in autocommit. SQLAlchemy's own switch of the isolation level sends a statement for each write,
    whose failure it does not dress as its own; the driver's switch sends none.
    """
    made = engine.execution_options()
    event.listen(made, "begin", _leave_autocommit)
    event.listen(engine, "checkin", _rest_in_autocommit)
    return made


class ServerSilent(psycopg2.OperationalError):
    """The server took the connection or the statement and said nothing: frozen, or cut off without a word."""


class Watch:
    """Watches the connections of all engines to one server.

    A statement that is not answered within `patience_seconds` ends with ServerSilent. The server's own time-out is
    shorter, so this strikes only when the server is out of reach in a way that no closed socket tells. From then on
    one caller at a time asks, and the rest are refused at once, until there is an answer: otherwise every thread
    would wait.
    """

    def __init__(self, patience_seconds: float) -> None:
        self.connection_factory = type(
            "WatchedConnection", (connection,), {"watch": self, "patience_seconds": patience_seconds}
        )
        self._silent_until = 0.0
        self._scout = 0
        self._lock = threading.Lock()
        set_wait_callback(_wait)

    def over(self, engine: Engine, *, sockets: bool) -> None:
        """Watch this engine; with `sockets`, look at each pooled connection's socket as it is taken out."""
        event.listen(engine, "do_connect", self._connect)
        event.listen(engine, "checkout", self._admit)
        if sockets:
            event.listen(engine, "checkout", _refuse_dead)

    @property
    def is_silent(self) -> bool:
        """Whether the server owes an answer, as far as we know."""
        return self._silent_until > 0

    def note_silence(self) -> None:
        """Nothing came in time."""
        with self._lock:
            self._silent_until, self._scout = time.monotonic() + ASK_AGAIN_SECONDS, 0

    def note_answer(self) -> None:
        """The server speaks, if only to refuse."""
        self._silent_until = 0.0

    def _admit(self, *subject: Any) -> None:
        del subject
        if not self._silent_until:
            return
        with self._lock:
            moment, caller = time.monotonic(), threading.get_ident()
            if moment >= self._silent_until:
                self._silent_until, self._scout = moment + SCOUT_SECONDS, caller
            elif caller != self._scout:
                raise ServerSilent("the server has not answered lately")

    def _connect(self, dialect: Any, record: Any, args: Any, parameters: dict[str, Any]) -> Any:
        """Try several hosts one after the other: libpq gives each its time only where nobody waits with a limit."""
        del dialect, record
        self._admit()
        hosts = parameters.get("host", "").split(",")
        if len(hosts) == 1:
            return None
        ports = cycle(str(parameters.get("port", 5432)).split(","))
        *first, last = [{**parameters, "host": host, "port": next(ports)} for host in hosts]
        for one in first:
            with suppress(psycopg2.OperationalError):
                return psycopg2.connect(*args, **one)
        return psycopg2.connect(*args, **last)


def _wait(waiting: Any) -> None:
    """psycopg2 waits here for the server: with each connection's own patience, without end for those that have none."""
    watch: Watch | None = getattr(waiting, "watch", None)
    while (state := waiting.poll()) != POLL_OK:
        poll = select.poll()
        poll.register(waiting.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        if not poll.poll(_patience_milliseconds(waiting, watch)):
            if watch is not None:
                watch.note_silence()
            raise ServerSilent("the server does not answer")
    if watch is not None and watch.is_silent:
        watch.note_answer()


def _patience_milliseconds(waiting: Any, watch: Watch | None) -> float | None:
    is_connecting = waiting.status not in {STATUS_READY, STATUS_BEGIN}
    patience = CONNECT_SECONDS if is_connecting else getattr(waiting, "patience_seconds", None)
    if patience is None:
        return None
    return 1000 * (min(patience, SCOUT_SECONDS) if watch is not None and watch.is_silent else float(patience))


def _leave_autocommit(beginning: Connection) -> None:
    if beginning.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        return  # asked for by name: a migration that builds an index beside those who write
    beginning.connection.dbapi_connection.autocommit = False  # type: ignore[union-attr]  # it has one while it begins


def _rest_in_autocommit(dbapi_connection: Any, record: Any) -> None:
    del record
    if dbapi_connection is not None and not dbapi_connection.closed:
        dbapi_connection.autocommit = True


def _refuse_dead(dbapi_connection: Any, record: Any, proxy: Any) -> None:
    """An idle connection has nothing to read; if its socket is readable the server has hung up, or says why it will.

    The pool then replaces it. A ping would cost a round trip for each request to learn the same.
    """
    del record, proxy
    poll = select.poll()
    poll.register(dbapi_connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise DisconnectionError("the server has closed this connection")
