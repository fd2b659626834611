"""gunicorn with the echo app, and nginx in front of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.deploy.servers import Gunicorn, Nginx

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    folder = tmp_path_factory.mktemp("echo")
    shutil.copy(HERE / "echo.py", folder / "echo.py")
    started = Gunicorn(folder, "echo", folder / "log", TRUSTED_PROXIES="127.0.0.1", FLASK_CONFIG="production")
    yield started
    started.kill()


@pytest.fixture(scope="module")
def nginx(server: Gunicorn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("nginx")
    started = Nginx(folder, f"127.0.0.1:{server.port}")
    yield started
    started.stop()
