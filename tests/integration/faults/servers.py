"""What these tests take away and give back: a PostgreSQL of their own, and Portico under gunicorn on it."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psycopg2
from cryptography.fernet import Fernet
from flask.sessions import SecureCookieSessionInterface

from app import create_app
from localdb import Cluster, pidfile
from localdb.cluster import LASTING
from models import User, db
from services.base_service import unit_of_work
from services.session_service import start_api
from tests.conftest import dispose, migrate
from tests.factories import PASSWORD, Person, make_person
from tests.integration.deploy.servers import HOST, ROOT, Gunicorn, until

DATABASE = "portico"
#: As in production: nothing that was acknowledged may be lost when the server dies. The machine stays up, so the disk
#: need not be waited for.
SETTINGS = {
    **LASTING,
    "fsync": "off",
    "max_connections": "60",
    "max_wal_senders": "0",
    "wal_level": "minimal",
}
#: Production's rules under throw-away secrets, without limits: what is counted here are faults.
PRODUCTION = {
    "BASE_URL": f"https://{HOST}",
    "TRUSTED_HOSTS": f"www.{HOST}",
    "TRUSTED_PROXIES": "127.0.0.1",
    "SECRET_KEY": "faults-only-cookie-signing-key-0123456789",
    "JWT_SECRET_KEY": "faults-only-access-token-key-9876543210",
    "FIELD_ENCRYPTION_KEY": Fernet.generate_key().decode(),
    "MAIL_SERVER": "127.0.0.1",
    "MAIL_DEFAULT_SENDER": "portico@portico.test",
    "RATELIMIT_ENABLED": "false",
    "LOG_LEVEL": "INFO",
}
PEOPLE = 8
NAMED = {"Host": HOST, "X-Forwarded-Proto": "https"}


@dataclass
class Postgres:
    """A server of its own on a copied data folder, which can be stopped, killed and frozen."""

    cluster: Cluster
    people: list[Person]
    _frozen: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The product's database."""
        return self.cluster.url(DATABASE)

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.cluster.places.data

    def connect(self) -> psycopg2.extensions.connection:
        """A connection beside the application's, each statement committed."""
        connection = psycopg2.connect(self.url.replace("+psycopg2", ""))
        connection.autocommit = True
        return connection

    def ask(self, statement: str, *values: Any) -> list[Any]:
        """Rows of a statement on a connection of its own."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT fast, SIGQUIT immediately, which is a crash."""
        self._tell(how)
        until(lambda: pidfile.server_process(self.data) is None, seconds=15, what="the database stops")

    def start(self) -> None:
        """Start it again, and wait until it answers."""
        self.cluster.acquire()

    def freeze(self) -> None:
        """No process of it runs any more; its sockets stay open."""
        self._frozen = self._processes()
        for pid in self._frozen:
            _signal(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it was."""
        for pid in reversed(self._frozen):
            _signal(pid, signal.SIGCONT)
        self._frozen = []

    def crash_a_backend(self) -> None:
        """Kill one of the application's backends: the server restarts itself."""
        ((pid,), *_) = self.ask("SELECT pid FROM pg_stat_activity WHERE application_name = 'portico'")
        _signal(pid, signal.SIGKILL)

    def terminate_backends(self) -> None:
        """End every connection of the application."""
        self.ask(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'portico'"
        )

    def connections(self) -> int:
        """How many the application has open."""
        ((count,),) = self.ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portico'")
        return int(count)

    def waiting(self) -> int:
        """How many of them wait for a lock."""
        ((count,),) = self.ask(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portico' AND wait_event_type = 'Lock'"
        )
        return int(count)

    def is_clean(self) -> bool:
        """Whether no transaction is left open and no lock is left waiting."""
        ((left,),) = self.ask(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portico' AND state <> 'idle'"
        )
        return not left and not self.waiting()

    def _tell(self, how: signal.Signals) -> None:
        pid = pidfile.server_process(self.data)
        assert pid is not None
        _signal(pid, how)

    def _processes(self) -> list[int]:
        pid = pidfile.server_process(self.data)
        assert pid is not None
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]


class Site(Gunicorn):
    """Portico as production runs it, and how to ask it."""

    def __init__(self, log: Path, *, under: Sequence[str] = (), **variables: str) -> None:
        settings = {"FLASK_CONFIG": "production", **PRODUCTION, **variables}
        super().__init__(ROOT, "app", log, port=None, under=under, **settings)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        headers: dict[str, str] | None = None,
        seconds: float = 20,
    ) -> "Answer":
        """One request on a connection of its own. Raises OSError when nobody answers, or not to the end."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        given = {**NAMED, **(headers or {})}
        if token:
            given["Authorization"] = f"Bearer {token}"
        if body is not None:
            given["Content-Type"] = "application/json"
        began = time.monotonic()
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, given)
            answer = connection.getresponse()
            return Answer(
                answer.status,
                {name.lower(): value for name, value in answer.getheaders()},
                answer.read(),
                time.monotonic() - began,
            )
        except HTTPException as error:
            raise OSError("no whole answer") from error
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """What the probe says."""
        return self.ask("GET", "/health/ready").status == 200

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of one event."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line.get("event") == event]


@dataclass(frozen=True)
class Answer:
    """What came back, and how long it took."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    @property
    def code(self) -> str:
        """The envelope's error code."""
        return str(json.loads(self.body)["error"]["code"])


def check_unavailable(answer: Answer, *, as_json: bool) -> None:
    """A 503 as the product promises it: when to come back, and in the caller's language."""
    assert answer.status == 503, answer
    assert int(answer.headers["retry-after"]) > 0
    if as_json:
        assert answer.code == "UNAVAILABLE"
    else:
        assert answer.headers["content-type"].startswith("text/html")
        assert b"<h1" in answer.body


@contextmanager
def seeded_data(folder: Path) -> Iterator[tuple[Path, list[Person]]]:
    """A stopped server's data folder with the product's tables and some people, the last one an administrator."""
    cluster = Cluster(folder / "data", settings=SETTINGS)
    with cluster:
        cluster.ensure_database(DATABASE)
        migrate(cluster.url(DATABASE))
        app = create_app("testing", DATABASE_URL=cluster.url(DATABASE))
        people = [make_person(app, f"Person {number}") for number in range(PEOPLE)]
        people += [make_person(app, "Ada Okonkwo", role="admin")]
        dispose(app)
    until(lambda: pidfile.server_process(cluster.places.data) is None, seconds=15, what="it stops")
    yield cluster.places.data, people


@contextmanager
def running_copy(data: Path, folder: Path, people: list[Person], **settings: str) -> Iterator[Postgres]:
    """A server of its own on a copy of the data."""
    copy = folder / "data"
    subprocess.run(["cp", "-a", data, copy], check=True, timeout=60)
    postgres = Postgres(Cluster(copy, settings={**SETTINGS, **settings}), people)
    postgres.start()
    try:
        yield postgres
    finally:
        postgres.thaw()
        postgres.cluster.release()
        until(lambda: pidfile.server_process(copy) is None, seconds=20, what="the database stops")
        shutil.rmtree(copy, ignore_errors=True)


def tokens_of(postgres: Postgres) -> list[str]:
    """An access token for each of the people, made as production makes them."""
    app = create_app("production", **PRODUCTION, DATABASE_URL=postgres.url)
    tokens = []
    with app.app_context():
        for person in postgres.people:
            with unit_of_work():
                tokens.append(start_api(db.session.get_one(User, person.id), "test").access_token)
    dispose(app)
    return tokens


def sign_in_body(person: Person, password: str = PASSWORD) -> dict[str, str]:
    """What a program sends to sign in."""
    return {"email": person.email, "password": password}


def some_cookie() -> dict[str, str]:
    """A browser's headers, with a cookie that only the database can tell is nobody's."""
    app = create_app("production", **PRODUCTION, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    cookie = serializer.dumps({"_user_id": "x" * 43, "_fresh": True})
    return {"Cookie": f"__Host-session={cookie}", "Accept": "text/html"}


def resident_bytes(pids: set[int]) -> int:
    """The memory these processes have to themselves and their share of what they have in common (PSS)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def open_files(pid: int) -> int:
    """How many file descriptors a process has."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
