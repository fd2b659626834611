"""The parts every test stands on: one database for each process, one rolled-back transaction for each test, a cast.

Alice owns, Bob is her peer, Charlie is a stranger, Ada administers.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from flask_migrate import upgrade
from psycopg2.extensions import cursor
from sqlalchemy import event, text

from app import create_app
from blueprints.http import budget
from localdb.testing import Databases, databases
from models import db
from models.base import now
from tests.clients import Api, PageClient
from tests.factories import Person, make_person

ROOT = Path(__file__).resolve().parent.parent
POOL = {"SQLALCHEMY_POOL_SIZE": 2, "SQLALCHEMY_MAX_OVERFLOW": 4, "SQLALCHEMY_POOL_TIMEOUT": 5.0}


def migrate(url: str) -> None:
    """Bring an empty database to the newest migration."""
    app = create_app("testing", DATABASE_URL=url, **POOL)
    with app.app_context():
        upgrade(directory=str(ROOT / "migrations"))
        dispose(app)


def dispose(app: Flask) -> None:
    """Close every connection of an app, one after the other, whatever has become of them."""
    with ExitStack() as undo:
        undo.callback(app.extensions["counter_engine"].dispose)
        undo.enter_context(app.app_context())
        undo.callback(db.engine.dispose)
        undo.callback(db.session.remove)


@pytest.fixture(scope="session")
def test_databases() -> Iterator[Databases]:
    """The server with the template that the real migrations made."""
    with databases(ROOT, migrations=ROOT / "migrations", build=migrate) as made:
        yield made


@pytest.fixture(scope="session")
def database_url(test_databases: Databases, worker_id: str) -> str:
    """This process's own database."""
    return test_databases.create(worker_id)


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """`gw0` … under xdist, `main` without."""
    workerinput: dict[str, Any] = getattr(request.config, "workerinput", {})
    return str(workerinput.get("workerid", "main"))


@pytest.fixture(scope="session")
def shared_app(database_url: str) -> Iterator[Flask]:
    """One application for the process; its transactions are rolled back after each test."""
    app = create_app("testing", DATABASE_URL=database_url, **POOL)
    app.test_client_class = PageClient
    _note_statements(app)
    yield app
    dispose(app)


@pytest.fixture(autouse=True)
def _push_request_context() -> None:
    """Nothing: pytest-flask's own fixture keeps a context around the client, and then Alice's login answers Bob."""


@pytest.fixture
def app(request: pytest.FixtureRequest) -> Iterator[Flask]:
    """The application: inside one outer transaction, or on a database of its own with the marker `real_database`.

    A commit in the code is a savepoint here, so a forgotten commit still fails the test.
    """
    if request.node.get_closest_marker("real_database"):
        yield request.getfixturevalue("real_app")
        return
    app: Flask = request.getfixturevalue("shared_app")
    with ExitStack() as undo:
        undo.callback(_forget_counts, app)
        _join_outer_transaction(app, undo)
        budget.reset()
        yield app


def _join_outer_transaction(app: Flask, undo: ExitStack) -> None:
    """Let everybody use one connection, in a transaction that `undo` rolls back.

    Each step is undone by itself: a connection that the server has ended fails its own test and no other.
    """
    with app.app_context():
        engines = cast("dict[Any, Any]", db.engines)
        kept = dict(engines)
        connection = engines[None].connect()
        undo.callback(db.session.registry.registry.clear)
        undo.callback(engines.update, kept)
        undo.callback(_join_by, "conditional_savepoint")
        undo.callback(connection.close)
        undo.callback(connection.begin().rollback)
        engines[None] = engines["reading"] = connection  # a connection serves as well
        _join_by("create_savepoint")


def _join_by(mode: str) -> None:
    db.session.session_factory.configure(join_transaction_mode=mode)


def _forget_counts(app: Flask) -> None:
    with app.extensions["counter_engine"].connect() as counters:
        counters.execute(text("DELETE FROM rate_limits"))
        counters.execute(text("DELETE FROM password_tries"))


@pytest.fixture
def real_app(test_databases: Databases) -> Iterator[Flask]:
    """An application on a fresh database of its own, with real commits: for races, faults and live servers."""
    with test_databases.fresh_database("real") as url:
        app = create_app("testing", DATABASE_URL=url, **POOL)
        app.test_client_class = PageClient
        _note_statements(app)
        budget.reset()
        yield app
        dispose(app)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser without cookies."""
    return app.test_client()


@pytest.fixture
def api(app: Flask) -> Api:
    """A program without a token; `api.as_(alice)` has one."""
    return Api(app)


@pytest.fixture
def alice(app: Flask) -> Person:
    """Alice owns."""
    return make_person(app, "Alice Lindqvist")


@pytest.fixture
def bob(app: Flask) -> Person:
    """Bob is her peer."""
    return make_person(app, "Bob Castellanos")


@pytest.fixture
def charlie(app: Flask) -> Person:
    """Charlie is a stranger."""
    return make_person(app, "Charlie Nwosu")


@pytest.fixture
def ada(app: Flask) -> Person:
    """Ada administers."""
    return make_person(app, "Ada Okonkwo", role="admin")


_statements: list[str] = []


class NotingCursor(cursor):
    """Notes what is sent, whoever sends it."""

    def execute(self, query: Any, vars: Any = None) -> None:
        if not str(query).startswith(("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO")):
            _statements.append(str(query))
        super().execute(query, vars)


def _note_statements(app: Flask) -> None:
    with app.app_context():
        event.listen(db.engines["reading"], "connect", _use_noting_cursors)


def _use_noting_cursors(dbapi_connection: Any, record: Any) -> None:
    del record
    dbapi_connection.cursor_factory = NotingCursor


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that the block sends, without the tests' own savepoints."""
    _statements.clear()
    told: list[str] = []
    try:
        yield told
    finally:
        told += _statements


@pytest.fixture
def early_in_a_step() -> Iterator[None]:
    """The clock shortly after a step of one-time codes began, so that no test meets the next one by chance."""
    second = int(now().timestamp())
    with time_machine.travel(second - second % 30 + 2, tick=True):
        yield
