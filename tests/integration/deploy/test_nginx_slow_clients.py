"""Clients that drip, stall, idle or come in crowds: nginx keeps them from the others."""

import socket
import ssl
import statistics
import threading
import time
from pathlib import Path

import pytest

from tests.integration.deploy.asking import NAMED, POST, ask
from tests.integration.deploy.servers import NGINX, Nginx, get, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed"),
]

BUSY = 0.2  # seconds: what the machine's other work may cost, and the most an answer may take
STRANGERS = [f"127.0.{third}.{fourth}" for third in (1, 2, 3, 4) for fourth in range(1, 6)]


class Dripper(threading.Thread):
    """Opens connections from several addresses, sends `start` on each, then one byte a second on all."""

    def __init__(self, nginx: Nginx, count: int, start: bytes) -> None:
        super().__init__(daemon=True)
        self.connections = [nginx.connect(source=STRANGERS[n % len(STRANGERS)]) for n in range(count)]
        self.began = time.monotonic()
        self.closed_after: list[float] = []
        self._ended = threading.Event()
        for connection in self.connections:
            connection.sendall(start)
            connection.setblocking(False)
        self.start()

    def run(self) -> None:
        left = list(self.connections)
        while left and not self._ended.wait(1):
            for connection in list(left):
                if not self._drip(connection):
                    left.remove(connection)
                    self.closed_after.append(time.monotonic() - self.began)

    def _drip(self, connection: ssl.SSLSocket) -> bool:
        try:
            connection.send(b"a")
            return bool(connection.recv(4096))
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False

    def end(self) -> None:
        self._ended.set()
        self.join()
        for connection in self.connections:
            connection.close()


def p95(nginx: Nginx, *, requests: int = 150) -> float:
    """The 95th percentile of seconds that a polite client waits for an answer, connecting included."""
    times = []
    for _ in range(requests):
        began = time.perf_counter()
        assert ask(nginx, "/health").status == 200
        times.append(time.perf_counter() - began)
    return statistics.quantiles(times, n=20)[-1]


@pytest.mark.timeout(120)
def test_dripped_headers_hurt_nobody_and_are_closed_within_fifteen_seconds(nginx: Nginx) -> None:
    before = p95(nginx)
    dripper = Dripper(nginx, 500, b"GET /echo HTTP/1.1\r\n" + NAMED + b"X: ")
    try:
        assert p95(nginx) < max(2 * before, BUSY)
        until(lambda: len(dripper.closed_after) == 500, seconds=25, what="all drippers are closed")
        assert max(dripper.closed_after) < 15
    finally:
        dripper.end()


@pytest.mark.timeout(120)
def test_dripped_bodies_hurt_nobody(nginx: Nginx) -> None:
    """nginx has no limit on a whole body's time, only on each pause: it keeps these, and the app sees none."""
    before = p95(nginx)
    dripper = Dripper(nginx, 200, POST + b"Content-Length: 100000\r\n\r\n")
    try:
        assert p95(nginx) < max(2 * before, BUSY)
        assert (get(nginx.http_port, "/health") or (0, b""))[0] == 200
    finally:
        dripper.end()


@pytest.mark.timeout(60)
def test_stalled_body_is_closed_within_fifteen_seconds(nginx: Nginx) -> None:
    with nginx.connect() as connection:
        connection.sendall(POST + b"Content-Length: 100000\r\n\r\nhello")
        connection.settimeout(15)
        assert _first_line(connection) == b""


@pytest.mark.timeout(120)
def test_thousand_idle_connections_hurt_nobody(nginx: Nginx) -> None:
    before = p95(nginx)
    idle = [
        socket.create_connection(
            ("127.0.0.1", nginx.https_port), source_address=(STRANGERS[n % len(STRANGERS)], 0)
        )
        for n in range(1000)
    ]
    try:
        assert p95(nginx) < max(2 * before, BUSY)
    finally:
        for connection in idle:
            connection.close()


def test_fifty_connections_of_one_address_are_enough(nginx: Nginx) -> None:
    """Those that wait for an answer count; here each waits for the rest of its own body."""
    held = [nginx.connect(source="127.0.9.9") for _ in range(55)]
    try:
        for connection in held:
            connection.sendall(b"POST /api/echo HTTP/1.1\r\n" + NAMED + b"Content-Length: 10\r\n\r\n")
        time.sleep(1)
        for connection in held:
            connection.setblocking(False)
        answers = [_first_line(connection) for connection in held]
        assert answers.count(b"HTTP/1.1 429 Too Many Requests") == 5
        assert ask(nginx, "/health").status == 200
    finally:
        for connection in held:
            connection.close()


def _first_line(connection: ssl.SSLSocket) -> bytes:
    """Of the answer; empty when the connection was closed without one."""
    try:
        return connection.recv(4096).split(b"\r\n")[0]
    except ssl.SSLWantReadError:
        return b"(nothing yet)"
    except ConnectionError:
        return b""
