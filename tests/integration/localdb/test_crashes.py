"""However a user, the supervisor or the server goes: nothing is left running, and nothing is lost."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localdb import Cluster
from localdb.cluster import LASTING, THROWAWAY
from tests.integration.localdb.servers import (
    a_user,
    kept_rows,
    parent_of,
    server_pid,
    server_runs,
    start_user,
    until,
)
from tests.processes import held

pytestmark = pytest.mark.integration


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A living process that has nothing to do with PostgreSQL."""
    with held(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])) as process:
        yield process.pid
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_server_ends_with_its_only_user(data: Path, user: subprocess.Popen[str], number: int) -> None:
    user.send_signal(number)
    until(lambda: not server_runs(data), seconds=3)
    with Cluster(data, settings=THROWAWAY) as cluster:
        assert kept_rows(cluster) == 1


def test_killed_server_is_replaced_for_the_next_user(data: Path, user: subprocess.Popen[str]) -> None:
    os.kill(server_pid(data), signal.SIGKILL)
    with Cluster(data, settings=THROWAWAY) as cluster:
        assert kept_rows(cluster) == 1
        assert user.poll() is None


def test_user_revives_a_killed_server_by_acquiring_again(data: Path) -> None:
    with Cluster(data, settings=THROWAWAY) as cluster:
        os.kill(server_pid(data), signal.SIGKILL)
        assert kept_rows(cluster.acquire()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_killed_supervisor_takes_the_server_along(data: Path, user: subprocess.Popen[str]) -> None:
    server = server_pid(data)
    os.kill(parent_of(server), signal.SIGKILL)
    until(lambda: not server_runs(data), seconds=3)
    with Cluster(data, settings=THROWAWAY) as cluster:
        assert server_pid(data) != server
        assert kept_rows(cluster) == 1
        assert user.poll() is None


def test_everything_killed_at_once_is_recovered(data: Path) -> None:
    with a_user(data) as user:
        server = server_pid(data)
        supervisor = parent_of(server)
        os.kill(server, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGKILL)
        user.kill()
        user.wait()
    with Cluster(data, settings=LASTING) as cluster:
        assert kept_rows(cluster) == 1
    assert (
        "was not properly shut down; automatic recovery in progress" in data.with_name("data.log").read_text()
    )


@pytest.mark.slow
def test_starter_killed_in_the_middle_leaves_nothing_in_the_way(folder: Path) -> None:
    data = folder / "data"
    for _ in range(3):
        user = start_user(data)
        with pytest.raises(subprocess.TimeoutExpired):
            user.wait(0.15)
        user.kill()
        user.communicate()
    with Cluster(data, settings=THROWAWAY) as cluster:
        assert cluster.is_running()


@pytest.mark.parametrize("leftover", ["postmaster.pid", ".s.PGSQL.5432.lock"])
def test_leftover_naming_a_living_foreign_process_is_no_obstacle(
    data: Path, sleeper: int, leftover: str
) -> None:
    leave(data, leftover, sleeper)
    with Cluster(data, settings=THROWAWAY) as cluster:
        assert kept_rows(cluster) == 1


def test_leftover_naming_the_server_of_another_cluster_is_no_obstacle(
    data: Path, copied_data: Path, user: subprocess.Popen[str]
) -> None:
    leave(copied_data, "postmaster.pid", server_pid(data))
    with Cluster(copied_data, settings=THROWAWAY) as cluster:
        assert kept_rows(cluster) == 1
        assert user.poll() is None


def test_empty_pid_file_is_no_obstacle(data: Path) -> None:
    (data / "postmaster.pid").touch()
    with Cluster(data, settings=THROWAWAY) as cluster:
        assert kept_rows(cluster) == 1


def test_supervisor_told_to_stop_shuts_the_server_down_cleanly(
    data: Path, user: subprocess.Popen[str]
) -> None:
    os.kill(parent_of(server_pid(data)), signal.SIGTERM)
    until(lambda: not server_runs(data))
    assert "database system is shut down" in data.with_name("data.log").read_text()
    assert user.poll() is None


def leave(data: Path, name: str, pid: int) -> None:
    """Write what a crashed server leaves, and let its account own it."""
    (data / name).write_text(f"{pid}\n{data}\n1700000000\n5432\n{data}\n\n  0  0\nready\n")
    state = data.stat()
    os.chown(data / name, state.st_uid, state.st_gid)
