"""gunicorn with the project's configuration: stopping, draining, replacing and losing a worker."""

import asyncio
import itertools
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.deploy.clients import Clients, load
from tests.integration.deploy.servers import Gunicorn, until

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HERE = Path(__file__).parent
SLOW = b"GET /slow HTTP/1.1\r\nHost: portico.test\r\n\r\n"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Gunicorn]]:
    """Start gunicorn with a copy of the echo app, which a test may change."""
    started: list[Gunicorn] = []
    shutil.copy(HERE / "echo.py", tmp_path / "echo.py")

    def served(**variables: Any) -> Gunicorn:
        started.append(Gunicorn(tmp_path, "echo", tmp_path / "log", **variables))
        return started[-1]

    yield served
    for server in started:
        server.kill()


def test_stopping_under_load_answers_everybody(serve: Callable[..., Gunicorn]) -> None:
    server = serve()

    async def stop() -> None:
        await asyncio.sleep(1)
        server.tell(signal.SIGTERM)
        await asyncio.to_thread(server.process.wait, 35)

    began = time.monotonic()
    clients = load(Clients(server.port, itertools.repeat(SLOW)), stop)
    assert clients.outcomes["lost"] == 0, clients.reasons
    assert clients.outcomes["200"] > 100
    assert server.process.returncode == 0
    assert time.monotonic() - began < 30


def test_draining_serves_on_while_ready_says_no(serve: Callable[..., Gunicorn]) -> None:
    server = serve(GUNICORN_DRAIN_SECONDS="4")
    assert server.get("/health/ready") == (200, b'{"inner":"ready"}\n')
    server.tell(signal.SIGTERM)

    def says_no() -> bool:
        return (server.get("/health/ready") or (0, b""))[0] == 503

    until(says_no, seconds=3, what="ready says 503")
    assert (server.get("/slow") or (0, b""))[0] == 200
    assert all(says_no() for _ in range(20))
    assert server.process.wait(timeout=10) == 0


def test_second_term_ends_draining(serve: Callable[..., Gunicorn]) -> None:
    server = serve(GUNICORN_DRAIN_SECONDS="20")
    server.tell(signal.SIGTERM)
    until(lambda: (server.get("/health/ready") or (0, b""))[0] == 503, seconds=2, what="draining")
    assert server.stop() == 0


def test_hup_replaces_workers_under_load_and_loses_nothing(serve: Callable[..., Gunicorn]) -> None:
    server = serve()
    before = server.workers()

    async def reload() -> None:
        await asyncio.sleep(0.5)
        server.tell(signal.SIGHUP)
        await asyncio.sleep(4)

    clients = load(Clients(server.port, itertools.repeat(SLOW)), reload)
    assert set(clients.outcomes) == {"200"}, clients.reasons
    assert server.workers().isdisjoint(before)
    assert (server.get("/health/ready") or (0, b""))[0] == 200
    assert server.stop() == 0


def test_usr2_brings_new_code_under_load_and_loses_nothing(
    serve: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    server = serve()
    code = tmp_path / "echo.py"
    code.write_text(code.read_text().replace('RELEASE = "one"', 'RELEASE = "two"'))

    async def upgrade() -> None:
        await asyncio.sleep(0.5)
        server.tell(signal.SIGUSR2)
        await asyncio.to_thread(server.process.wait, 30)

    clients = load(Clients(server.port, itertools.repeat(SLOW), stays=True), upgrade)
    assert set(clients.outcomes) == {"200"}, clients.reasons
    assert server.process.returncode == 0
    assert b'"two"' in (server.get("/health") or (0, b""))[1]


def test_usr2_with_code_that_does_not_start_changes_nothing(
    serve: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    server = serve()
    code = tmp_path / "echo.py"
    code.write_text("raise SystemExit('SECRET_KEY: is required')\n")
    server.tell(signal.SIGUSR2)
    until(lambda: "SECRET_KEY: is required" in server.log.read_text(), seconds=10, what="the refusal")
    assert b'"one"' in (server.get("/health") or (0, b""))[1]
    shutil.copy(HERE / "echo.py", code)
    assert server.stop() == 0


def test_killed_worker_is_replaced_within_two_seconds(serve: Callable[..., Gunicorn]) -> None:
    server = serve()
    killed = min(server.workers())
    os.kill(killed, signal.SIGKILL)
    until(
        lambda: killed not in server.workers() and len(server.workers()) == 2, seconds=2, what="a new worker"
    )
    assert all((server.get("/health") or (0, b""))[0] == 200 for _ in range(20))


def test_who_never_speaks_does_not_hold_up_the_end(serve: Callable[..., Gunicorn]) -> None:
    server = serve()
    with socket.create_connection(("127.0.0.1", server.port)):
        time.sleep(6)  # gunicorn's wait for a first byte, after which the connection is set aside
        began = time.monotonic()
        assert server.stop() == 0
    assert time.monotonic() - began < 8
