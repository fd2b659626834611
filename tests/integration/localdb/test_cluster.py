"""One server, shared by all who want it and stopped with the last of them."""

import os
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from localdb import Cluster, LocalDatabaseError, binaries, development_url, testing_cluster
from localdb.cluster import THROWAWAY
from tests.integration.localdb.servers import (
    PROJECT,
    a_user,
    connect,
    kept_rows,
    server_pid,
    server_runs,
    start_user,
    until,
)
from tests.processes import held

pytestmark = pytest.mark.integration


def test_first_start_makes_everything_and_the_end_leaves_nothing_running(folder: Path) -> None:
    url = development_in_a_process(folder)
    data = folder / "instance" / "postgres"
    assert url == f"postgresql+psycopg2://postgres@/app?host={data}&port=5432"
    until(lambda: not server_runs(data))
    assert not (data / "postmaster.pid").exists()
    assert sorted(path.name for path in data.parent.iterdir()) == [
        "postgres",
        "postgres.log",
        "postgres.start",
        "postgres.users",
    ]


def test_rows_survive_a_restart(data: Path) -> None:
    for _ in range(2):
        with Cluster(data, settings=THROWAWAY) as cluster:
            assert kept_rows(cluster) == 1


def test_order_and_case_are_those_of_unicode_code_points_everywhere(data: Path) -> None:
    with Cluster(data) as cluster, closing(connect(cluster)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(w, '' ORDER BY w), lower('ÄÉ') FROM unnest('{é,b,a,Z,A}'::text[]) w"
        )
        assert cursor.fetchone() == ("AZabé", "äé")
        cursor.execute("SHOW timezone")
        assert cursor.fetchone() == ("UTC",)


def test_server_stays_until_its_last_user_lets_go(data: Path) -> None:
    first, second = Cluster(data, settings=THROWAWAY).acquire(), Cluster(data, settings=THROWAWAY).acquire()
    first.release()
    assert kept_rows(second) == 1
    second.release()
    until(lambda: not server_runs(data))


def test_acquiring_again_costs_no_second_server(data: Path) -> None:
    with Cluster(data, settings=THROWAWAY) as cluster:
        before = server_pid(data)
        cluster.acquire()
        assert server_pid(data) == before


def test_eight_at_once_on_a_new_folder_share_one_server(folder: Path) -> None:
    data = folder / "data"
    users = [start_user(data) for _ in range(8)]
    try:
        assert [user.stdout.readline() for user in users if user.stdout] == ["ready\n"] * 8
        said = (folder / "data.log").read_text()
        assert said.count("starting PostgreSQL") == 1
    finally:
        for user in users:
            user.kill()
            user.communicate()
    until(lambda: not server_runs(data))


def test_a_program_that_replaces_the_process_holds_the_server(data: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from localdb import Cluster; from localdb.cluster import THROWAWAY\n"
        "Cluster(Path(sys.argv[1]), settings=THROWAWAY).acquire().keep_through_exec()\n"
        "os.execvp('sh', ['sh', '-c', 'echo replaced; read line'])"
    )
    replaced = held(
        subprocess.Popen(
            [sys.executable, "-c", script, data],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    assert replaced.stdout is not None
    assert replaced.stdout.readline() == "replaced\n"
    with pytest.raises(AssertionError):
        until(lambda: not server_runs(data), seconds=0.5)
    replaced.communicate("\n")
    until(lambda: not server_runs(data))


def test_only_a_held_server_can_be_kept(data: Path) -> None:
    with pytest.raises(LocalDatabaseError, match="call acquire first"):
        Cluster(data).keep_through_exec()


def test_the_folder_is_closed_and_no_port_is_open(data: Path) -> None:
    with Cluster(data, settings=THROWAWAY) as cluster, closing(connect(cluster)) as connection:
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        with connection.cursor() as cursor:
            cursor.execute("SHOW listen_addresses")
            assert cursor.fetchone() == ("",)
        assert cluster.tcp_url() is None


def test_over_tcp_a_password_is_needed(data: Path, free_port: int) -> None:
    with Cluster(data, settings=THROWAWAY, tcp_port=free_port) as cluster:
        tcp_url = cluster.tcp_url()
        assert tcp_url is not None
        psycopg2.connect(tcp_url.replace("+psycopg2", "")).close()
        assert kept_rows(cluster) == 1
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(host="127.0.0.1", port=free_port, user="postgres", dbname="postgres")
        assert stat.S_IMODE(cluster.places.password.stat().st_mode) == 0o600


def test_a_busy_tcp_port_is_named(data: Path, busy_port: int) -> None:
    with pytest.raises(LocalDatabaseError, match=f"Port {busy_port} is in use: set APP_PG_PORT"):
        Cluster(data, settings=THROWAWAY, tcp_port=busy_port).acquire()


def test_a_running_server_with_another_port_is_named(data: Path, free_port: int) -> None:
    with Cluster(data, settings=THROWAWAY), pytest.raises(LocalDatabaseError, match="another APP_PG_PORT"):
        Cluster(data, settings=THROWAWAY, tcp_port=free_port).acquire()


@pytest.mark.parametrize("name", ["d" * 90, "with blanks & accents é, 100%"])
def test_a_long_or_odd_path_works_and_leaves_nothing_in_the_temporary_folder(
    made_data: Path, folder: Path, name: str
) -> None:
    data = folder / name / "data"
    data.parent.mkdir()
    subprocess.run(["cp", "-a", made_data, data], check=True)
    with Cluster(data, settings=THROWAWAY) as cluster:
        assert kept_rows(cluster) == 1
        sockets = cluster.places.sockets
        assert sockets.parent == Path("/tmp")
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    until(lambda: not sockets.exists())


def test_a_strangers_socket_folder_is_refused(folder: Path) -> None:
    cluster = Cluster(folder / ("d" * 90), settings=THROWAWAY)
    cluster.places.sockets.mkdir(mode=0o777)
    try:
        cluster.places.sockets.chmod(0o777)
        with pytest.raises(LocalDatabaseError, match="is not ours"):
            cluster.acquire()
    finally:
        cluster.places.sockets.rmdir()


def test_data_of_another_major_version_are_not_touched(copied_data: Path) -> None:
    (copied_data / "PG_VERSION").write_text("12\n")
    with pytest.raises(LocalDatabaseError, match=r"made by PostgreSQL 12.*APP_PG_BIN.*pg_dump"):
        Cluster(copied_data, settings=THROWAWAY).acquire()


def test_a_folder_with_other_things_in_it_is_not_touched(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "thesis.txt").write_text("five years of work")
    with pytest.raises(LocalDatabaseError, match="neither empty nor a PostgreSQL data folder"):
        Cluster(folder / "data", settings=THROWAWAY).acquire()
    assert (folder / "data" / "thesis.txt").exists()


@pytest.mark.slow
def test_half_a_cluster_of_an_interrupted_start_is_cleared_away(folder: Path) -> None:
    (folder / "data.init123").mkdir()
    with Cluster(folder / "data", settings=THROWAWAY):
        assert not (folder / "data.init123").exists()


def test_a_server_that_ends_at_once_tells_why(data: Path) -> None:
    with pytest.raises(LocalDatabaseError, match=r"ended at once[\s\S]*no_such_setting"):
        Cluster(data, settings={"no_such_setting": "1"}).acquire()
    with Cluster(data, settings=THROWAWAY) as cluster:
        assert kept_rows(cluster) == 1


def test_development_and_tests_have_servers_of_their_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_DATA_DIR", str(folder / "elsewhere"))
    assert testing_cluster(PROJECT).places.data == folder / "elsewhere-test"
    monkeypatch.delenv("APP_DATA_DIR")
    assert testing_cluster(folder).places.data == folder / "instance" / "postgres-test"


def test_a_port_that_is_none_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PG_PORT", "many")
    with pytest.raises(LocalDatabaseError, match="APP_PG_PORT is many"):
        development_url(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "programs", sorted(Path("/usr/lib/postgresql").glob("*/bin")), ids=lambda path: path.parts[-2]
)
def test_the_machines_own_programs_work_too(
    folder: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP_PG_BIN", str(programs))
    with (
        Cluster(folder / "data", settings=THROWAWAY) as cluster,
        closing(connect(cluster)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT lower('ÄÉ'), 'b' < 'é', current_setting('server_version_num')::int / 10000")
        assert cursor.fetchone() == ("äé", True, binaries.major(binaries.version(programs)))


@pytest.mark.slow
def test_eight_starts_and_stops_back_to_back(data: Path) -> None:
    for _ in range(8):
        with a_user(data) as user:
            user.kill()


def development_in_a_process(project: Path) -> str:
    """What `development_url` answers in a process that then ends."""
    script = "import sys, pathlib, localdb; print(localdb.development_url(pathlib.Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", script, project],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env=os.environ,
        check=True,
    )
    return done.stdout.strip()
