"""Portico itself under gunicorn with production settings, on a real database that can be taken away."""

import asyncio
import itertools
import os
import secrets
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest
from cryptography.fernet import Fernet

from localdb.testing import Databases
from tests.integration.deploy.clients import Clients, load
from tests.integration.deploy.servers import HOST, ROOT, Gunicorn, until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(120)]

NAMED = f"Host: {HOST}\r\nX-Forwarded-Proto: https\r\n"


class Way:
    """The way to a PostgreSQL server, over TCP, which can be cut and mended."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        host = query.get("host", [parts.hostname or "127.0.0.1"])[0]
        port = int(query.get("port", [str(parts.port or 5432)])[0])
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._open: list[socket.socket] = []
        self._is_cut = threading.Event()
        user = parts.username or query.get("user", ["postgres"])[0]
        password = f":{parts.password}" if parts.password else ""
        here = self._listener.getsockname()[1]
        self.url = f"postgresql://{user}{password}@127.0.0.1:{here}{parts.path}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection and let none through."""
        self._is_cut.set()
        for end in self._open:
            end.close() if end.fileno() < 0 else end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self) -> None:
        """Let connections through again."""
        self._is_cut.clear()

    def close(self) -> None:
        """Stop listening."""
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut.is_set():
                client.close()
                continue
            server = self._connect()
            self._open += [client, server]
            threading.Thread(target=_carry, args=(client, server), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = self._server
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server


def _carry(one: socket.socket, other: socket.socket) -> None:
    ways = {one: other, other: one}
    with one, other:
        while True:
            try:
                ready, _, _ = select.select(ways, [], [])
                for end in ready:
                    piece = end.recv(65536)
                    if not piece:
                        return
                    ways[end].sendall(piece)
            except (OSError, ValueError):
                return


@pytest.fixture
def database(test_databases: Databases) -> Iterator[Way]:
    with test_databases.fresh_database("deploy") as url:
        way = Way(url)
        yield way
        way.close()


@pytest.fixture
def serve(database: Way, tmp_path: Path) -> Iterator[Callable[..., Gunicorn]]:
    """Start Portico as production does."""
    started: list[Gunicorn] = []

    def served(**variables: Any) -> Gunicorn:
        settings: dict[str, Any] = {
            "FLASK_CONFIG": "production",
            "BASE_URL": f"https://{HOST}",
            "TRUSTED_HOSTS": f"www.{HOST}",
            "TRUSTED_PROXIES": "127.0.0.1",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "JWT_SECRET_KEY": secrets.token_urlsafe(48),
            "FIELD_ENCRYPTION_KEY": Fernet.generate_key().decode(),
            "DATABASE_URL": database.url,
            "MAIL_SERVER": "127.0.0.1",
            "MAIL_DEFAULT_SENDER": "portico@portico.test",
        }
        started.append(Gunicorn(ROOT, "app", tmp_path / "log", **{**settings, **variables}))
        return started[-1]

    yield served
    for server in started:
        server.kill()


def status(server: Gunicorn, path: str) -> int:
    """Of a GET as nginx would pass it on; 0 when nobody answers."""
    return (server.get(path, {"Host": HOST, "X-Forwarded-Proto": "https"}) or (0, b""))[0]


def requests() -> Iterator[bytes]:
    """A page, an API call without a token, the probe and a sign-in that fails, over and over."""
    body = b'{"email": "nobody@example.com", "password": "not the password"}'
    kinds = [
        f"GET /auth/login HTTP/1.1\r\n{NAMED}\r\n".encode(),
        f"GET /api/v1/users/me HTTP/1.1\r\n{NAMED}\r\n".encode(),
        f"GET /health/ready HTTP/1.1\r\n{NAMED}\r\n".encode(),
        f"POST /api/v1/auth/login HTTP/1.1\r\n{NAMED}Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body,
    ]
    return itertools.cycle(kinds)


def test_health_answers_while_the_database_is_away_and_ready_recovers(
    serve: Callable[..., Gunicorn], database: Way
) -> None:
    server = serve()
    until(lambda: status(server, "/health/ready") == 200, seconds=5, what="ready")
    database.cut()
    until(lambda: status(server, "/health/ready") == 503, seconds=5, what="ready says 503")
    for _ in range(20):
        began = time.monotonic()
        assert status(server, "/health") == 200
        assert time.monotonic() - began < 0.5
    assert status(server, "/auth/login") in {200, 503}
    database.mend()
    until(lambda: status(server, "/health/ready") == 200, seconds=5, what="ready again")


def test_starts_while_the_database_is_away(serve: Callable[..., Gunicorn], database: Way) -> None:
    database.cut()
    server = serve()
    assert (status(server, "/health"), status(server, "/health/ready")) == (200, 503)
    database.mend()
    until(lambda: status(server, "/health/ready") == 200, seconds=5, what="ready")


def test_stopping_under_load_answers_everybody(serve: Callable[..., Gunicorn]) -> None:
    server = serve()

    async def stop() -> None:
        await asyncio.sleep(2)
        server.tell(signal.SIGTERM)
        await asyncio.to_thread(server.process.wait, 35)

    began = time.monotonic()
    clients = load(Clients(server.port, requests()), stop)
    assert clients.outcomes["lost"] == 0, clients.reasons
    assert clients.outcomes["200"] > 10
    assert clients.outcomes["500"] == 0
    assert server.process.returncode == 0
    assert time.monotonic() - began < 32


def test_ready_says_no_while_draining(serve: Callable[..., Gunicorn]) -> None:
    server = serve(GUNICORN_DRAIN_SECONDS="4")
    assert status(server, "/health/ready") == 200
    server.tell(signal.SIGTERM)
    until(lambda: status(server, "/health/ready") == 503, seconds=3, what="ready says 503")
    assert status(server, "/health") == 200
    assert server.process.wait(timeout=10) == 0


def test_reload_serves_on(serve: Callable[..., Gunicorn]) -> None:
    server = serve()
    before = server.workers()

    async def reload() -> None:
        await asyncio.sleep(0.5)
        server.tell(signal.SIGHUP)
        await asyncio.sleep(4)

    clients = load(Clients(server.port, requests(), count=20), reload)
    assert clients.outcomes["lost"] == clients.outcomes["refused"] == clients.outcomes["500"] == 0
    until(lambda: server.workers().isdisjoint(before), seconds=30, what="all workers are new")


def test_upgrade_with_a_wrong_setting_leaves_the_old_one_serving(
    serve: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text(secrets.token_urlsafe(48))
    server = serve(SECRET_KEY="", SECRET_KEY_FILE=str(key))
    key.write_text("short-and-secret")
    server.tell(signal.SIGUSR2)
    until(lambda: "SECRET_KEY: " in server.log.read_text(), seconds=15, what="the refusal")
    assert "short-and-secret" not in server.log.read_text()
    assert status(server, "/health/ready") == 200


def test_killed_worker_takes_only_its_own_request_and_no_lock_with_it(
    serve: Callable[..., Gunicorn], database: Way
) -> None:
    server = serve(GUNICORN_WORKERS="1")
    body = b'{"email": "new@example.com", "password": "a long enough pass phrase 7", "name": "New"}'
    register = (
        f"POST /api/v1/auth/register HTTP/1.1\r\n{NAMED}Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        + body
    )
    blocker = psycopg2.connect(database.url)
    with blocker.cursor() as cursor:
        cursor.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(register)
            cursor.execute("SELECT 1")
            until(lambda: _waits_for_a_lock(cursor), seconds=5, what="the request waits for the lock")
            (killed,) = server.workers()
            os.kill(killed, signal.SIGKILL)
            assert connection.recv(4096) == b""
    until(
        lambda: killed not in server.workers() and len(server.workers()) == 1, seconds=2, what="a new worker"
    )
    assert status(server, "/health") == 200
    blocker.rollback()
    with blocker.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")
        cursor.execute("LOCK TABLE outbox, users IN ACCESS EXCLUSIVE MODE")
        cursor.execute("SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM users)")
        assert cursor.fetchone() == (0, 0)
    blocker.close()
    assert status(server, "/health/ready") == 200


def _waits_for_a_lock(cursor: "psycopg2.extensions.cursor") -> bool:
    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
    row = cursor.fetchone()
    return bool(row and row[0])


def test_inner_answers_are_quiet_outside_development(serve: Callable[..., Gunicorn]) -> None:
    server = serve()
    for path in ("/dev/mail", "/dev/mail.json", "/.env", "/.git/config", "/console", "/docs"):
        assert status(server, path) == 404, path
    assert status(server, "/metrics") in {401, 404}
    told = (server.get("/health/detailed", {"Host": HOST}) or (0, b""))[1]
    assert b"checks" not in told


@pytest.mark.parametrize("chunks", [b"3\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"-1\r\n\r\n"])
def test_wrong_chunks_are_a_clear_refusal(serve: Callable[..., Gunicorn], chunks: bytes) -> None:
    server = serve(GUNICORN_WORKERS="1")
    request = f"POST /api/v1/auth/login HTTP/1.1\r\n{NAMED}Content-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(request.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        answer = connection.recv(65536)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 422 "))
