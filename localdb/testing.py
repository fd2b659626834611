"""Databases for tests: one template made by the real migrations, and clones of it for 20 milliseconds each.

    with databases(project_root, migrations=project_root / "migrations", build=migrate) as made:
        url = made.create("gw0")

Every process that makes databases holds an advisory lock on the number in their names. Databases whose lock
is free belong to a process that was killed, on whatever machine it ran, and are dropped by the next one.
"""

import hashlib
import os
import re
import secrets
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from psycopg2.sql import SQL, Composable, Identifier

from localdb import testing_cluster
from localdb.errors import LocalDatabaseError

TEMPLATE_LOCK = 471_100  # shared while cloning, exclusive while building
OWNER_LOCK = 471_101  # with the owner's number as second key
LONGEST_NAME = 63
MAINTENANCE = "postgres"


class Databases:
    """Makes and drops test databases on one server; not shared between threads."""

    def __init__(self, server_url: str, *, migrations: Path, build: Callable[[str], None]) -> None:
        # Always the same database: advisory locks count within one, and whoever looked from another would take the
        # databases of processes that live for leftovers.
        self._url = urlunsplit(urlsplit(_driver_url(server_url))._replace(path=f"/{MAINTENANCE}"))
        self._template = f"tpl_{_fingerprint(migrations)}"
        self._build = build
        self._owner = secrets.randbelow(2**31)
        self._made = 0
        self._is_closed = False
        self._admin = self._connected()

    def create(self, name: str = "test") -> str:
        """SQLAlchemy's URL of a new database that holds what the migrations make."""
        self._made += 1
        words = re.sub(r"[^a-z0-9]+", "_", name.lower())[: LONGEST_NAME - 30]
        database = f"t_{self._owner}_{self._made}_{words}"
        if not self._cloned(database):
            self._make_template()
            if not self._cloned(database):
                raise LocalDatabaseError(
                    f"{self._template} vanishes at once: is another run dropping templates?"
                )
        return self._url_of(database)

    def drop(self, url: str) -> None:
        """Drop a database made by `create`, whoever is still connected."""
        self._drop(urlsplit(url).path.removeprefix("/"))

    @contextmanager
    def fresh_database(self, name: str = "test") -> Iterator[str]:
        """A database of its own for the block; the URL is `create`'s."""
        url = self.create(name)
        try:
            yield url
        finally:
            self.drop(url)

    def close(self) -> None:
        """Drop what this process has made and let go of the server."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._drop_all(f"t_{self._owner}_")
        finally:
            self._admin.close()

    def drop_leftovers(self) -> None:
        """Drop the databases of processes that are gone."""
        for owner in self._owners() - {self._owner}:
            if self._execute("SELECT pg_try_advisory_lock(%s, %s)", OWNER_LOCK, owner):
                self._drop_all(f"t_{owner}_")
                self._execute("SELECT pg_advisory_unlock(%s, %s)", OWNER_LOCK, owner)

    def _owners(self) -> set[int]:
        names = (re.match(r"t_(\d+)_\d+_", database) for database in self._names("t_"))
        return {int(name[1]) for name in names if name}

    def _cloned(self, database: str) -> bool:
        """Whether the template was there to clone. Nobody drops it meanwhile."""
        with self._advisory("_shared", TEMPLATE_LOCK):
            # Copying files beats writing them to the log, as nothing waits for the disk; 15 is the first to
            # ask.
            strategy = SQL(" STRATEGY file_copy" if self._admin.server_version >= 150_000 else "")
            names = (Identifier(database), Identifier(self._template))
            try:
                self._run(SQL("CREATE DATABASE {} TEMPLATE {}").format(*names) + strategy)
            except psycopg2.errors.InvalidCatalogName:
                return False
        # A forgotten transaction in one connection fails the test that waits in another, instead of hanging
        # it.
        self._run(SQL("ALTER DATABASE {} SET lock_timeout = '5s'").format(Identifier(database)))
        return True

    def _make_template(self) -> None:
        """Build the template under another name and rename it: half a one is never taken for a whole."""
        with self._advisory("", TEMPLATE_LOCK):
            if self._template in self._names("tpl_"):
                return
            for outdated in self._names("tpl_"):
                self._drop(outdated)
            unfinished = f"{self._template}_new"
            self._run(SQL("CREATE DATABASE {}").format(Identifier(unfinished)))
            self._build(self._url_of(unfinished))
            self._disconnect(unfinished)
            self._run(SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(Identifier(unfinished)))
            self._run(
                SQL("ALTER DATABASE {} RENAME TO {}").format(
                    Identifier(unfinished), Identifier(self._template)
                )
            )

    @contextmanager
    def _advisory(self, kind: str, key: int) -> Iterator[None]:
        self._execute(f"SELECT pg_advisory_lock{kind}(%s)", key)
        try:
            yield
        finally:
            self._execute(f"SELECT pg_advisory_unlock{kind}(%s)", key)

    def _disconnect(self, database: str) -> None:
        self._execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s", database
        )

    def _names(self, prefix: str) -> list[str]:
        rows = self._ask("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", prefix)
        return [name for (name,) in rows]

    def _drop_all(self, prefix: str) -> None:
        for database in self._names(prefix):
            self._drop(database)

    def _drop(self, database: str) -> None:
        self._run(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(database)))

    def _url_of(self, database: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{database}"))

    def _run(self, statement: Composable) -> None:
        self._ask(statement)

    def _execute(self, statement: str, *values: object) -> object:
        rows = self._ask(statement, *values)
        return rows[0][0] if rows else None

    def _ask(self, statement: str | Composable, *values: object) -> list[Any]:
        """Its rows. A connection that the server has ended fails what it was in the middle of, and nothing after."""
        if _has_ended(self._admin):
            self._admin.close()
            self._admin = self._connected()
        with self._admin.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def _connected(self) -> psycopg2.extensions.connection:
        """A connection that owns our number."""
        made = _connect(self._url)
        with made.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", (OWNER_LOCK, self._owner))
        return made


@contextmanager
def databases(project_root: Path, *, migrations: Path, build: Callable[[str], None]) -> Iterator[Databases]:
    """Test databases on TEST_DATABASE_URL's server, else on the project's own, for as long as the block runs.

    `migrations` is the folder whose files decide whether a template is still right; `build` runs them on the
    URL it is given and disconnects. Raises LocalDatabaseError.
    """
    with _server(project_root) as server_url:
        made = Databases(server_url, migrations=migrations, build=build)
        try:
            made.drop_leftovers()
            yield made
        finally:
            made.close()


@contextmanager
def _server(project_root: Path) -> Iterator[str]:
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    with testing_cluster(project_root) as cluster:
        yield cluster.url()


def _connect(url: str) -> psycopg2.extensions.connection:
    try:
        connection = psycopg2.connect(url.replace("+psycopg2", "", 1), connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise LocalDatabaseError(f"The tests' server does not answer (TEST_DATABASE_URL): {error}") from error
    connection.autocommit = True
    return connection


def _has_ended(connection: psycopg2.extensions.connection) -> bool:
    """Whether the server has hung up: an idle connection has nothing to read until then."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _driver_url(url: str) -> str:
    return re.sub(r"^postgres(ql)?(\+psycopg2)?://", "postgresql+psycopg2://", url)


def _fingerprint(migrations: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(migrations.rglob("*.py")):
        digest.update(f"{file.relative_to(migrations)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
