"""python -m localdb, which ./run reset calls."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from localdb import Cluster
from localdb.cluster import THROWAWAY
from tests.integration.localdb.servers import PROJECT, server_runs, until

pytestmark = pytest.mark.integration


def test_status_says_where_the_data_are_and_whether_the_server_runs(copied_data: Path) -> None:
    assert command(copied_data, "status").stdout == f"data    {copied_data}\nserver  stopped\n"
    with Cluster(copied_data, settings=THROWAWAY) as cluster:
        assert command(copied_data, "status").stdout.splitlines()[1:] == [
            "server  runs",
            f"url     {cluster.url('app')}",
        ]


def test_reset_wants_to_be_sure_and_to_be_alone(copied_data: Path) -> None:
    assert "say ./run reset --yes" in command(copied_data, "reset").stderr
    with Cluster(copied_data, settings=THROWAWAY):
        in_use = command(copied_data, "reset", "--yes")
        assert (in_use.returncode, "is in use" in in_use.stderr) == (1, True)
    until(lambda: not server_runs(copied_data))
    assert copied_data.exists()
    assert command(copied_data, "reset", "--yes").returncode == 0
    assert not copied_data.exists()
    assert "no development data" in command(copied_data, "reset", "--yes").stdout


def test_fault_is_told_in_words(folder: Path) -> None:
    (folder / "file").touch()
    failed = command(folder / "file" / "data", "status")
    assert failed.returncode == 1
    assert "Set APP_DATA_DIR to another folder" in failed.stderr
    assert "Traceback" not in failed.stderr


def command(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """One command on this data folder, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "localdb", *words],
        cwd=PROJECT,
        env=os.environ | {"APP_DATA_DIR": str(data)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
