"""Databases for tests: a template made once by the migrations, clones of it, nothing left behind."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import psycopg2
import pytest

from localdb import Cluster, LocalDatabaseError
from localdb.cluster import THROWAWAY
from localdb.testing import Databases, databases
from tests.integration.localdb.servers import PROJECT, connect, server_runs, until

pytestmark = pytest.mark.integration

MadeDatabases = AbstractContextManager[Databases]


@pytest.fixture(scope="module")
def server(made_data: Path) -> Iterator[Cluster]:
    """One server for all of these tests."""
    with Cluster(made_data, settings=THROWAWAY) as cluster:
        yield cluster
    until(lambda: not server_runs(made_data))


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """A folder with one migration, unlike that of any other test."""
    (tmp_path / "0001_users.py").write_text(f"# makes users for {tmp_path}")
    return tmp_path


@pytest.fixture
def built() -> list[str]:
    """The URLs that were migrated."""
    return []


@pytest.fixture
def made(
    server: Cluster, migrations: Path, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], MadeDatabases]:
    """Opens databases on the server, as each test process does."""
    monkeypatch.setenv("TEST_DATABASE_URL", server.url().replace("+psycopg2", ""))

    def build(url: str) -> None:
        built.append(url)
        with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection, connection:
            connection.cursor().execute("CREATE TABLE users (id int)")

    return lambda: databases(PROJECT, migrations=migrations, build=build)


def test_template_is_built_once_and_cloned_for_each(
    made: Callable[[], MadeDatabases], built: list[str]
) -> None:
    for _ in range(2):
        with made() as opened:
            for url in (opened.create("gw0"), opened.create("gw1")):
                assert url.startswith("postgresql+psycopg2://")
                assert rows(url, "SELECT count(*) FROM users") == [(0,)]
    assert len(built) == 1


def test_changed_migrations_make_a_new_template_and_drop_the_old(
    made: Callable[[], MadeDatabases], built: list[str], server: Cluster, migrations: Path
) -> None:
    for number in (1, 2):
        (migrations / "0002_more.py").write_text(f"# version {number}")
        with made() as opened:
            opened.create()
    assert len(built) == 2
    assert len([name for name in names(server) if name.startswith("tpl_")]) == 1


def test_nothing_is_left_at_the_end(made: Callable[[], MadeDatabases], server: Cluster) -> None:
    with made() as opened:
        url = opened.create("gw0")
        forgotten = psycopg2.connect(url.replace("+psycopg2", ""))
        assert any(name.startswith("t_") for name in names(server))
    assert not any(name.startswith("t_") for name in names(server))
    forgotten.close()


def test_fresh_database_lives_for_its_block(made: Callable[[], MadeDatabases], server: Cluster) -> None:
    with made() as opened:
        with opened.fresh_database("Test of é / [a-1]" * 5) as url:
            name = url.split("?")[0].rsplit("/", 1)[1]
            assert name in names(server)
            assert len(name) <= 63
        assert name not in names(server)


def test_waiting_for_a_lock_fails_instead_of_hanging(made: Callable[[], MadeDatabases]) -> None:
    with made() as opened, opened.fresh_database() as url:
        assert rows(url, "SHOW lock_timeout") == [("5s",)]


def test_databases_of_a_killed_process_are_dropped_and_those_of_a_living_one_stay(
    made: Callable[[], MadeDatabases], server: Cluster, migrations: Path
) -> None:
    with made() as living:
        kept = living.create("living").split("?")[0].rsplit("/", 1)[1]
        dead = name_from_a_process_that_dies(server, migrations)
        assert dead in names(server)
        with made():
            assert dead not in names(server)
            assert kept in names(server)


def test_failed_migration_is_raised_and_leaves_no_template(
    server: Cluster, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", server.url())
    (migrations / "0001_users.py").write_text("# is wrong")

    def fail(url: str) -> None:
        raise ValueError("the migration is wrong")

    with (
        databases(PROJECT, migrations=migrations, build=fail) as opened,
        pytest.raises(ValueError, match="the migration is wrong"),
    ):
        opened.create()
    with databases(PROJECT, migrations=migrations, build=lambda url: None) as opened:
        assert opened.create()


def test_silent_server_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", f"postgresql://postgres@/app?host={tmp_path}")
    with (
        pytest.raises(LocalDatabaseError, match="TEST_DATABASE_URL"),
        databases(PROJECT, migrations=tmp_path, build=lambda url: None),
    ):
        pass


@pytest.mark.slow
def test_without_an_address_the_projects_own_server_is_used(folder: Path, migrations: Path) -> None:
    with databases(folder, migrations=migrations, build=lambda url: None) as opened:
        assert str(folder / "instance" / "postgres-test") in opened.create()


def name_from_a_process_that_dies(server: Cluster, migrations: Path) -> str:
    """The name of a database whose process was killed."""
    script = (
        "import os, sys; from pathlib import Path; from localdb.testing import databases\n"
        "with databases(Path('.'), migrations=Path(sys.argv[1]), build=lambda url: None) as made:\n"
        "    print(made.create('dead').split('?')[0].rsplit('/', 1)[1], flush=True)\n"
        "    os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, migrations],
        cwd=PROJECT,
        env=os.environ | {"TEST_DATABASE_URL": server.url()},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    """What the query answers."""
    with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def names(server: Cluster) -> list[str]:
    """All databases of the server."""
    with closing(connect(server)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        return [name for (name,) in cursor.fetchall()]
