"""Clusters in folders that PostgreSQL's account may enter: pytest's own are closed to everybody else."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from localdb import Cluster
from localdb.cluster import THROWAWAY
from tests.integration.localdb.servers import a_user, connect, open_folder, server_runs, until


@pytest.fixture(autouse=True)
def own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have set these for the real thing."""
    for name in ("APP_PG_BIN", "APP_DATA_DIR", "APP_PG_USER", "APP_PG_PORT", "TEST_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that everybody may enter."""
    with open_folder() as made:
        yield made


@pytest.fixture(scope="session")
def made_data() -> Iterator[Path]:
    """A data folder with one row in the table `kept`, made once."""
    with open_folder() as made:
        data = made / "data"
        with Cluster(data, settings=THROWAWAY) as cluster, closing(connect(cluster)) as connection:
            connection.cursor().execute("CREATE TABLE kept (word text)")
            connection.cursor().execute("INSERT INTO kept VALUES ('row')")
        until(lambda: not server_runs(data))
        yield data


@pytest.fixture
def data(made_data: Path) -> Iterator[Path]:
    """The data folder of a stopped server, with one row in the table `kept` and an empty log."""
    made_data.with_name(f"{made_data.name}.log").unlink(missing_ok=True)
    yield made_data
    until(lambda: not server_runs(made_data))


@pytest.fixture
def copied_data(made_data: Path, folder: Path) -> Path:
    """The same, to be spoilt."""
    subprocess.run(["cp", "-a", made_data, folder / "data"], check=True)
    return folder / "data"


@pytest.fixture
def user(data: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the server."""
    with a_user(data) as process:
        yield process


@pytest.fixture
def busy_port() -> Iterator[int]:
    """A port of 127.0.0.1 that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
