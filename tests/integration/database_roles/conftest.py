"""A database whose owner is one role and whose app is another, as deploy/postgres/roles.sql makes them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg2
import pytest
from flask import Flask
from sqlalchemy.engine import URL, make_url

from app import create_app
from localdb.testing import Databases
from tests.clients import PageClient
from tests.conftest import POOL, dispose, migrate

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "deploy" / "postgres" / "roles.sql"
PASSWORD = "it's a \\ and a % and a :app"


@dataclass(frozen=True)
class Split:
    """A database and the URLs of three who use it."""

    administrator: URL
    owner: URL
    app: URL

    def run(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the script as it is documented."""
        return subprocess.run(
            [
                *("psql", "--no-psqlrc", "--dbname", text(self.administrator)),
                *("--set", f"owner={self.owner.username}", "--set", f"app={self.app.username}"),
                *("--file", str(SCRIPT)),
            ],
            env={"PATH": os.environ["PATH"], **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def take(self) -> None:
        """The same, which must do it without a word."""
        done = self.run(OWNER_PASSWORD=PASSWORD, APP_PASSWORD=PASSWORD)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def of(self, database: str) -> "Split":
        """The same roles at another database."""
        urls = {
            name: getattr(self, name).set(database=database) for name in ("administrator", "owner", "app")
        }
        return replace(self, **urls)


def text(url: URL) -> str:
    """As libpq reads it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def refusal(url: URL, *statements: str) -> str | None:
    """The code of the error with which PostgreSQL refuses one of some statements; None when it does them all."""
    connection = psycopg2.connect(text(url))
    connection.autocommit = True  # some are refused in a transaction, whoever asks
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    except psycopg2.Error as error:
        return error.pgcode
    else:
        return None
    finally:
        connection.close()


def execute(url: URL, statement: str) -> list[tuple[object, ...]]:
    """Its rows; committed."""
    connection = psycopg2.connect(text(url))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@pytest.fixture(scope="module")
def roles(test_databases: Databases) -> Iterator[Split]:
    """Two names at a migrated database that a superuser owns, as in a set-up with one role."""
    if shutil.which("psql") is None:
        pytest.skip("psql is not installed")
    with test_databases.fresh_database("roles") as url:
        administrator = make_url(url)
        names = [f"{administrator.database}_{name}" for name in ("owner", "app")]
        owner, app = (administrator.set(username=name, password=PASSWORD) for name in names)
        yield Split(administrator, owner, app)
    for name in names:
        execute(administrator.set(database="postgres"), f'DROP ROLE IF EXISTS "{name}"')


@pytest.fixture(scope="module")
def split(roles: Split) -> Iterator[Split]:
    """An empty database: the script, then all migrations as the owner."""
    name = f"{roles.administrator.database}_empty"
    execute(roles.administrator, f'CREATE DATABASE "{name}"')
    made = roles.of(name)
    made.take()
    migrate(made.owner.render_as_string(hide_password=False))
    yield made
    execute(roles.administrator, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def split_app(split: Split) -> Iterator[Flask]:
    """The application with its own role."""
    app = create_app("testing", DATABASE_URL=split.app.render_as_string(hide_password=False), **POOL)
    app.test_client_class = PageClient
    yield app
    dispose(app)


@pytest.fixture
def app(split_app: Flask) -> Flask:
    """In place of the one in a rolled-back transaction."""
    return split_app
