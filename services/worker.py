"""The worker: delivers mails as they are written, sweeps for the rest, makes copies of people's data, deletes accounts
whose time has come and pictures that nobody has any more, and purges once an hour what has expired.

One process beside the web processes is enough; several share the work. It outlives restarts of the database
and of the mail server, and ends between two mails on SIGTERM or SIGINT.
"""

import select
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import structlog
from flask import Flask
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from models import db
from services import (
    audit_retention_service,
    challenge_service,
    deletion_service,
    export_service,
    guess_service,
    idempotency_service,
    known_device_service,
    link_service,
    outbox_service,
    picture_removal_service,
    picture_service,
    rate_limit_storage,
    session_service,
    suspension_service,
    totp_service,
)
from services.base_service import PURGE_BATCH, unit_of_work
from services.mail_service import CHANNEL

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 10.0
PURGE_SECONDS = 3600.0
MOST_BATCHES = 100  # the rest is for the next hour
LOST_DATABASE_SECONDS = 1.0


def run(app: Flask) -> None:
    """Work until SIGTERM or SIGINT; for the main thread of a process of its own."""
    worker = Worker(app)

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        worker.stop()

    former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        worker.work()
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def purge() -> dict[str, int]:
    """Delete everywhere what has expired, and end suspensions that are over; returns how many rows of each kind.

    Each kind commits by itself, and after each batch.
    """
    return {name: _in_units_of_work(delete) for name, delete in PURGES.items()}


class Worker:
    """The loop, its listening connection, and a bell that wakes it. `work` in one thread, `stop` from any."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._is_stopping = False
        self._bell, self._rope = socket.socketpair()
        self._rope.setblocking(False)
        self._listener: Connection | None = None
        self._purge_due = time.monotonic()

    def work(self) -> None:
        """Deliver, purge and wait, until `stop`."""
        log.info("worker_started")
        try:
            while not self._is_stopping:
                self._do_what_is_due()
                self._wait()
        finally:
            self._unlisten()
            self._bell.close()
            self._rope.close()
        log.info("worker_stopped")

    def stop(self) -> None:
        """End `work` once the mail in hand is done. A signal handler may call it, and more than once."""
        self._is_stopping = True  # no Event: its lock is not for signal handlers
        try:
            self._rope.send(b"!")
        except OSError:
            return  # rung already, or gone already: either way `work` knows

    def _do_what_is_due(self) -> None:
        """Never raises for a database that is away: the next round finds out again."""
        try:
            self._listen()  # before looking, or what is written in between would wait for the sweep
            with self._app.app_context():
                self._work_off()
                self._deliver()
                self._purge()
        except SQLAlchemyError as error:
            log.warning("worker_database_trouble", error=type(error).__name__)
            self._unlisten()
        except Exception:  # a worker that ends over one fault delivers nothing any more
            log.exception("worker_fault")
            self._unlisten()

    def _work_off(self) -> None:
        """Before the mails: what is made here is told in one."""
        for name, job in JOBS.items():
            if not self._is_stopping and (done := job()):
                log.info("worked_off", job=name, count=done)

    def _deliver(self) -> None:
        while not self._is_stopping and outbox_service.deliver_due(stopping=lambda: self._is_stopping):
            pass

    def _purge(self) -> None:
        if self._is_stopping or time.monotonic() < self._purge_due:
            return
        self._purge_due = time.monotonic() + PURGE_SECONDS
        log.info("purged", **purge())

    def _wait(self) -> None:
        """Until a mail is written, the sweep is due, or `stop`; briefly while the database is away."""
        sources: list[Any] = [self._bell]
        listening = self._postgres()
        if listening is not None:
            sources.append(listening)
        seconds = SWEEP_SECONDS if listening is not None else LOST_DATABASE_SECONDS
        ready, _, _ = select.select(sources, [], [], seconds)
        if listening is not None and listening in ready:
            self._read(listening)

    def _read(self, listening: Any) -> None:
        try:
            listening.poll()
        except listening.Error:
            self._unlisten()
        else:
            listening.notifies.clear()

    def _listen(self) -> None:
        if self._listener is not None:
            self._listener.execute(text("SELECT 1"))  # a connection that died in silence would hear nothing
        else:
            with self._app.app_context():
                engine = db.engines["reading"]  # AUTOCOMMIT: notifications come between transactions only
            self._listener = engine.connect()
            self._listener.execute(text(f"LISTEN {CHANNEL}"))

    def _unlisten(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.invalidate()
            listener.close()

    def _postgres(self) -> Any:
        """The driver's own connection, which can be waited for; None while there is none."""
        raw = self._listener.connection.dbapi_connection if self._listener is not None else None
        return raw if raw is not None and not raw.closed else None


def _in_units_of_work(job: Callable[[], int]) -> int:
    """Once, and again while it finds as much as a batch holds: more may wait."""
    total = 0
    for _ in range(MOST_BATCHES):
        with unit_of_work():
            found = job()
        total += found
        if found < PURGE_BATCH:
            break
    return total


#: Looked after in every round; each commits by itself, piece by piece.
JOBS: dict[str, Callable[[], int]] = {
    "exports": export_service.make_due,
    "deletions": deletion_service.erase_due,
    "pictures": picture_removal_service.remove_due,
}
PURGES: dict[str, Callable[[], int]] = {
    "answers": idempotency_service.purge,
    "challenges": challenge_service.purge,
    "exports": export_service.purge,
    "devices": known_device_service.purge,
    "guesses": guess_service.purge,
    "links": link_service.purge,
    "mails": outbox_service.purge,
    "pictures": picture_service.purge,
    "rate_limits": lambda: rate_limit_storage.purge(db.engines["reading"]),
    "sessions": session_service.purge,
    "suspensions": suspension_service.end_due,
    "seeds_renewed": totp_service.renew,
    "audit_events": audit_retention_service.purge,
}
