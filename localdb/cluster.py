"""One PostgreSQL server over one data folder, shared by all who want it and stopped with the last of them."""

import contextlib
import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg2

from localdb import binaries, initialise, locks, pidfile, private
from localdb.errors import LocalDatabaseError
from localdb.places import Places, explained, make_socket_folder, places_for, reachable_programs

SUPERVISOR = Path(__file__).with_name("supervisor.py")
DEFAULT_PORT = 5432  # the number in the socket's name; nothing listens on it unless APP_PG_PORT is set
START_SECONDS = 60.0
LONGEST_LOG_BYTES = 1_000_000

# What the server logs when it refuses a statement bears no values: neither the statement nor the row it met.
LASTING: Mapping[str, str] = {
    "log_error_verbosity": "terse",
    "log_min_duration_statement": "-1",
    "log_min_error_statement": "panic",
    "log_min_messages": "warning",
    "log_parameter_max_length_on_error": "0",
    "log_statement": "none",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "unix_socket_permissions": "0700",
}
# For tests: a crash of the machine may cost the data, so nothing waits for the disk.
THROWAWAY: Mapping[str, str] = {
    **LASTING,
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_senders": "0",
    "synchronous_commit": "off",
    "wal_level": "minimal",
}


class Cluster:
    """The server of one data folder.

    `acquire` makes sure that it runs for as long as this process, or a child that inherits the lock, lives
    and has not called `release`. As a context manager it does both.
    """

    def __init__(
        self, data: Path, *, settings: Mapping[str, str] = LASTING, tcp_port: int | None = None
    ) -> None:
        self._places = places_for(data)
        self._settings = settings
        self._tcp_port = tcp_port
        self._port = tcp_port or DEFAULT_PORT
        self._lock: int | None = None

    @property
    def places(self) -> Places:
        """Where its files are."""
        return self._places

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self, *, timeout_seconds: float = START_SECONDS) -> Self:
        """Hold the server; start it, and make its data folder, if need be.

        Repeat it to revive a server that died. Raises LocalDatabaseError.
        """
        if self._lock is None:
            self._lock = locks.shared(self._places.users_lock, timeout_seconds=timeout_seconds)
        try:
            with locks.exclusive(self._places.start_lock, timeout_seconds=timeout_seconds):
                self._ensure_running(time.monotonic() + timeout_seconds)
        except BaseException:
            self.release()
            raise
        return self

    def release(self) -> None:
        """Let go; the server stops when nobody else holds it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def keep_through_exec(self) -> None:
        """Let the program that replaces this process by `exec` hold the server, and its children too."""
        if self._lock is None:
            raise LocalDatabaseError("Only a held server can be kept: call acquire first.")
        os.set_inheritable(self._lock, True)

    def is_running(self) -> bool:
        """Whether the server answers; the only proof is a connection."""
        with contextlib.suppress(psycopg2.Error):
            self._connect().close()
            return True
        return False

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy's URL of a database, over the socket, whose folder only its owner may enter."""
        sockets = quote(str(self._places.sockets), safe="/")
        return f"postgresql+psycopg2://postgres@/{database}?host={sockets}&port={self._port}"

    def tcp_url(self, database: str = "postgres") -> str | None:
        """The same for other programs, over TCP with a password; None when it does not listen."""
        if not self._tcp_port:
            return None
        password = self._places.password.read_text().strip()
        return f"postgresql+psycopg2://postgres:{password}@127.0.0.1:{self._port}/{database}"

    def ensure_database(self, name: str) -> None:
        """Create this database unless it is there."""
        with contextlib.closing(self._connect()) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
            if cursor.rowcount:
                return
            with contextlib.suppress(psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation):
                cursor.execute(f'CREATE DATABASE "{name}"')

    def _connect(self) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host=str(self._places.sockets),
            port=self._port,
            user="postgres",
            dbname="postgres",
            connect_timeout=5,
        )

    def _ensure_running(self, deadline: float) -> None:
        if not self._answers_in_time(deadline):
            programs = reachable_programs(binaries.find(), self._places.account)
            make_socket_folder(self._places)
            initialise.prepare(self._places, programs, sync=self._settings.get("fsync") != "off")
            pidfile.remove_leftovers(self._places.data, self._places.sockets, self._port)
            self._start(programs, deadline)
        if self._tcp_port:
            self._ensure_password()

    def _answers_in_time(self, deadline: float) -> bool:
        """Whether the server runs. One that is just starting, recovering or stopping is waited for."""
        while not self.is_running():
            if pidfile.server_process(self._places.data) is None:
                return False
            if pidfile.server_port(self._places.data) not in (None, self._port):
                raise LocalDatabaseError(
                    "The database runs with another APP_PG_PORT: use the same, or stop it first."
                )
            self._check(deadline)
            time.sleep(locks.PAUSE_SECONDS)
        return True

    def _start(self, programs: Path, deadline: float) -> None:
        with explained(self._places.data):
            private.close_files(self._places.files)
            written = self._trimmed_log()
            supervisor = self._spawn_supervisor(programs)
        try:
            while not self.is_running():
                if _has_ended(supervisor):
                    raise LocalDatabaseError(self._why_it_ended(written))
                self._check(deadline)
                time.sleep(locks.PAUSE_SECONDS)
        finally:
            os.close(supervisor)

    def _spawn_supervisor(self, programs: Path) -> int:
        """Start the supervisor, which leaves us at once, and answer a pipe that is closed when it ends."""
        places = self._places
        account = [str(places.account.uid), str(places.account.gid)] if places.account else ["-", "-"]
        folder = "-" if places.sockets == places.data else str(places.sockets)
        alive, held_by_supervisor = os.pipe()
        command: list[str | Path] = [
            sys.executable,
            "-I",
            "-S",
            SUPERVISOR,
            places.users_lock,
            *account,
            folder,
        ]
        with private.appended(places.log) as log:
            subprocess.run(
                command + self._server_command(programs),
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[held_by_supervisor],
                cwd="/",
                env=initialise.environment(),
            )
        os.close(held_by_supervisor)
        return alive

    def _server_command(self, programs: Path) -> list[str | Path]:
        settings = {
            **self._settings,
            "listen_addresses": "127.0.0.1" if self._tcp_port else "",
            "port": str(self._port),
            "unix_socket_directories": str(self._places.sockets),
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return [programs / "postgres", "-D", self._places.data, *options]

    def _ensure_password(self) -> None:
        """Only under the start lock: the first one to ask for TCP makes the password."""
        if self._places.password.exists():
            return
        password = secrets.token_urlsafe(24)
        with contextlib.closing(self._connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute("ALTER ROLE postgres PASSWORD %s", (password,))
        with explained(self._places.password), private.appended(self._places.password) as file:
            file.write(f"{password}\n".encode())

    def _trimmed_log(self) -> int:
        """The length of the log, whose former part is set aside when it has grown long."""
        log = self._places.log
        if log.exists() and log.stat().st_size > LONGEST_LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
        return log.stat().st_size if log.exists() else 0

    def _why_it_ended(self, written: int) -> str:
        said = self._places.log.read_bytes()[written:].decode(errors="replace").strip()
        if "could not bind" in said:
            return f"Port {self._port} is in use: set APP_PG_PORT to another one, or unset it."
        return f"PostgreSQL ended at once ({self._places.log}):\n{said[-1500:]}"

    def _check(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise LocalDatabaseError(f"PostgreSQL does not answer; {self._places.log} tells why.")


def _has_ended(supervisor: int) -> bool:
    readable, _, _ = select.select([supervisor], [], [], 0)
    return bool(readable)
