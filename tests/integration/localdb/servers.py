"""What these tests do with servers: hold them from other processes, look at them, wait for them."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2

from localdb import Cluster, pidfile
from tests.processes import held

PROJECT = Path(__file__).resolve().parents[3]
USER = """
import sys
from pathlib import Path
from localdb import Cluster, LocalDatabaseError
from localdb.cluster import THROWAWAY
try:
    cluster = Cluster(Path(sys.argv[1]), settings=THROWAWAY).acquire()
except LocalDatabaseError as error:
    sys.exit(str(error))
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter; afterwards nothing runs in it and it is gone."""
    folder = Path(tempfile.mkdtemp(prefix="portico-test-"))
    folder.chmod(0o755)
    try:
        yield folder
        until(lambda: not any(server_runs(file.parent) for file in folder.rglob("postmaster.pid")))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def a_user(data: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds this server; it is let in before the block runs."""
    process = start_user(data)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        yield process
    finally:
        process.kill()
        process.communicate()


def start_user(data: Path) -> subprocess.Popen[str]:
    """Start a process that will hold this server."""
    return held(
        subprocess.Popen(
            [sys.executable, "-c", USER, data],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
        )
    )


def connect(cluster: Cluster, database: str = "postgres") -> psycopg2.extensions.connection:
    """A connection that commits each statement."""
    connection = psycopg2.connect(cluster.url(database).replace("+psycopg2", ""))
    connection.autocommit = True
    return connection


def kept_rows(cluster: Cluster) -> int:
    """How many rows the table `kept` holds."""
    with closing(connect(cluster)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM kept")
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def server_runs(data: Path) -> bool:
    """Whether a server has this data folder open."""
    return pidfile.server_process(data) is not None


def server_pid(data: Path) -> int:
    """The process number of the server that has this data folder open."""
    pid = pidfile.server_process(data)
    assert pid is not None
    return pid


def parent_of(pid: int) -> int:
    """The process that started this one: a server's is its supervisor."""
    return int(subprocess.check_output(["ps", "-o", "ppid=", "-p", str(pid)], text=True))


def until(condition: Callable[[], bool], *, seconds: float = 10) -> None:
    """Wait for the condition, or fail."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
