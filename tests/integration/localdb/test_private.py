"""What lies beside the data is nobody else's to read, and the server's log bears no values (ASVS 14.2.4, 16.2.5)."""

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from localdb import Cluster, testing_cluster
from localdb.cluster import LASTING, THROWAWAY
from tests.integration.localdb.servers import connect, until

pytestmark = pytest.mark.integration
ADDRESS, HASH = "alice@example.com", "$argon2id$v=19$m=19456"


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Whatever the account's is."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_beside_the_data_are_closed_whatever_the_umask(data: Path, free_port: int, umask: int) -> None:
    with Cluster(data, settings=THROWAWAY, tcp_port=free_port) as cluster:
        there = [path for path in cluster.places.files if path.exists()]
        assert len(there) == 4
        assert {mode(path) for path in there} == {0o600}
        assert mode(data) == 0o700


def test_files_of_an_older_version_are_closed_at_the_next_start(data: Path) -> None:
    log = data.with_name(f"{data.name}.log")
    former = log.with_name(f"{log.name}.1")
    for path in (log, former):
        path.write_text(ADDRESS)
        path.chmod(0o644)
    with Cluster(data, settings=THROWAWAY):
        assert mode(log) == mode(former) == 0o600
    former.unlink()


def test_a_link_in_the_logs_place_is_not_followed(data: Path, folder: Path) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.write_text("kept")
    elsewhere.chmod(0o644)
    log = data.with_name(f"{data.name}.log")
    log.symlink_to(elsewhere)
    try:
        with pytest.raises(Exception, match="can't be used"):
            Cluster(data, settings=THROWAWAY).acquire()
        assert (elsewhere.read_text(), mode(elsewhere)) == ("kept", 0o644)
    finally:
        log.unlink()


@pytest.mark.parametrize("before", [None, 0o755, 0o777, 0o700])
def test_the_folder_of_the_projects_data_is_closed(folder: Path, umask: int, before: int | None) -> None:
    instance = folder / "instance"
    if before is not None:
        instance.mkdir()
        instance.chmod(before)
    testing_cluster(folder)
    # Root's server runs as another account, which walks through it to its data.
    assert mode(instance) == (0o711 if os.geteuid() == 0 and before != 0o700 else 0o700)


def test_a_folder_of_somebodys_choice_is_left_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_DATA_DIR", str(folder / "data"))
    testing_cluster(folder)
    assert mode(folder) == 0o755


@pytest.mark.parametrize("settings", [LASTING, THROWAWAY], ids=["development", "tests"])
def test_what_the_server_refuses_is_logged_without_values(data: Path, settings: dict[str, str]) -> None:
    refused = (
        f"INSERT INTO accounts VALUES ('{ADDRESS}', '{HASH}')",  # DETAIL would name the address
        f"INSERT INTO accounts VALUES ('', '{HASH}')",  # DETAIL would hold the whole row
        f"SELECT pg_sleep(1) WHERE '{ADDRESS}' <> ''",  # ends by its time-out, with the statement
    )
    with Cluster(data, settings=settings) as cluster, closing(connect(cluster)) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE accounts (email text PRIMARY KEY CHECK (email <> ''), hash text)")
        try:
            cursor.execute(f"INSERT INTO accounts VALUES ('{ADDRESS}', '{HASH}')")
            cursor.execute("SET statement_timeout = 100")
            for statement in refused:
                with pytest.raises(psycopg2.Error):
                    cursor.execute(statement)
            said = cluster.places.log
            until(lambda: said.read_text().count("ERROR:") == len(refused))
            assert ADDRESS not in said.read_text()
            assert HASH not in said.read_text()
        finally:
            cursor.execute("SET statement_timeout = 0; DROP TABLE accounts")
