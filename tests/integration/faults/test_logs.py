"""Standard output is full, gone, or nobody reads it (F26): requests go on, lines are counted."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.integration.faults.servers import Postgres, Site

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(120)]

TOKEN = "a-health-token-for-tests"


@contextmanager
def full(folder: Path) -> Iterator[Path]:
    """A disk without space."""
    del folder
    yield Path("/dev/full")


@contextmanager
def without_reader(folder: Path) -> Iterator[Path]:
    """A pipe whose reader is gone."""
    os.mkfifo(folder / "pipe")
    reader = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(folder / "pipe", os.O_WRONLY)
    os.close(reader)
    yield Path(f"/proc/{os.getpid()}/fd/{writer}")
    os.close(writer)


@contextmanager
def with_stuck_reader(folder: Path) -> Iterator[Path]:
    """A pipe whose reader lives and does not read."""
    os.mkfifo(folder / "pipe")
    reader = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    yield folder / "pipe"
    os.close(reader)


@pytest.mark.parametrize("sink", [full, with_stuck_reader])
def test_requests_do_not_wait_for_their_log_lines(
    serve: Callable[..., Site],
    postgres: Postgres,
    tokens: list[str],
    tmp_path: Path,
    sink: Callable[[Path], AbstractContextManager[Path]],
) -> None:
    with sink(tmp_path) as log:
        site = serve(log=log, GUNICORN_WORKERS="1", HEALTH_TOKEN=TOKEN)
        began = time.monotonic()
        statuses = [site.ask("GET", "/api/v1/users/me", token=tokens[0]).status for _ in range(400)]
        assert set(statuses) == {200}
        assert time.monotonic() - began < 20
        assert site.ask("PATCH", "/api/v1/users/me", {"name": "Written Down"}, token=tokens[0]).status == 200
        told = json.loads(
            site.ask("GET", "/health/detailed", headers={"Authorization": f"Bearer {TOKEN}"}).body
        )
        (check,) = (check for check in told["checks"] if check["name"] == "log")
        assert (check["status"], check["dropped"] > 10) == ("warn", True)
        ((events,),) = postgres.ask("SELECT count(*) FROM audit_events WHERE action = 'account:update'")
        assert events == 1


def test_lines_come_again_once_somebody_reads(
    serve: Callable[..., Site], tokens: list[str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        site = serve(log=tmp_path / "pipe", GUNICORN_WORKERS="1")
        for _ in range(400):
            site.ask("GET", "/api/v1/users/me", token=tokens[0])
        everything_in(reader)
        answer = site.ask("GET", "/api/v1/users/me", token=tokens[0])
        time.sleep(0.2)
        lines = everything_in(reader).splitlines()
    finally:
        os.close(reader)
    assert json.loads(lines[-1])["request_id"] == answer.headers["x-request-id"]


def everything_in(reader: int) -> bytes:
    """What a pipe holds now."""
    read = b""
    try:
        while piece := os.read(reader, 1 << 16):
            read += piece
    except BlockingIOError:
        return read
    return read
