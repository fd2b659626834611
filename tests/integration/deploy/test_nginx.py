"""nginx with the project's configuration in front of gunicorn: what gets through it, and what does not."""

import json
import shutil
import socket
import ssl
import statistics
import threading
import time
from collections.abc import Iterator
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path

import pytest

from tests.integration.deploy.servers import HOST, NGINX, Gunicorn, Nginx, get, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed"),
]

HERE = Path(__file__).parent
NAMED = f"Host: {HOST}\r\n".encode()


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


class Answer:
    """Status, headers by small name, and body of an answer."""

    def __init__(self, answer: HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.body = answer.read()


def ask(
    nginx: Nginx,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own."""
    connection = HTTPSConnection("127.0.0.1", nginx.https_port, context=nginx.trust(), timeout=10)
    connection.sock = nginx.connect()
    try:
        connection.request(method, path, body=body, headers={"Host": HOST, **(headers or {})})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def raw(connection: socket.socket, request: bytes) -> tuple[int, bool]:
    """Send bytes; the status of the first answer (0 for none) and whether the connection was closed after it."""
    connection.settimeout(5)
    answer = b""
    try:
        connection.sendall(request)
        while piece := connection.recv(65536):
            answer += piece
        is_closed = True
    except TimeoutError:
        is_closed = False
    except OSError:
        is_closed = True
    status = int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/1.1 ") else 0
    return status, is_closed


# ---- what reaches the app


def test_forged_forwarded_headers_are_gone(nginx: Nginx) -> None:
    forged = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/evil",
        "X-Forwarded-Ssl": "off",
        "X-Real-IP": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
        "Proxy": "http://evil.test",
        "X-Request-ID": "forged-by-the-client",
    }
    seen = json.loads(ask(nginx, "/echo", headers=forged).body)
    headers = {name.lower(): value for name, value in seen["headers"].items()}
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert len(headers["x-request-id"]) == 32
    assert seen["scheme"] == "https"
    told = "".join(headers.values())
    assert not any(word in told for word in ("6.6.6.6", "evil", "forged"))


def test_headers_with_underscores_do_not_get_through(nginx: Nginx) -> None:
    with nginx.connect() as connection:
        connection.sendall(
            b"GET /echo HTTP/1.1\r\n" + NAMED + b"X_Forwarded_For: 6.6.6.6\r\nConnection: close\r\n\r\n"
        )
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert b" 200 " in answer
    assert b"6.6.6.6" not in answer


@pytest.mark.parametrize(
    "path",
    [
        "/metrics", "/metrics/", "/health/detailed", "/health/database", "/health/blueprints",
        "//health/detailed", "/%68ealth/detailed", "/x/../health/detailed", "/health/ready/../detailed",
        "/.git/config", "/.env", "/a/.env", "/dev/mail", "/dev/mail.json",
    ],
)  # fmt: skip
def test_inner_paths_end_at_nginx(nginx: Nginx, path: str) -> None:
    answer = ask(nginx, path)
    assert answer.status == 404
    assert b"inner" not in answer.body


def test_probes_get_through(nginx: Nginx) -> None:
    assert ask(nginx, "/health").status == 200
    assert ask(nginx, "/health/ready").status == 200
    assert (get(nginx.http_port, "/health") or (0, b""))[0] == 200  # by address, without TLS, as balancers do


def test_other_names_are_refused(nginx: Nginx) -> None:
    assert (get(nginx.http_port, "/", {"Host": "evil.test"}) or (0, b""))[0] == 421
    plain = socket.create_connection(("127.0.0.1", nginx.https_port), timeout=10)
    with pytest.raises(ssl.SSLError):
        nginx.trust().wrap_socket(plain, server_hostname="evil.test")


def test_http_leads_to_https(nginx: Nginx) -> None:
    with socket.create_connection(("127.0.0.1", nginx.http_port), timeout=10) as connection:
        connection.sendall(b"GET /a?b=c HTTP/1.1\r\n" + NAMED + b"Connection: close\r\n\r\n")
        answer = connection.recv(65536)
    assert b" 308 " in answer
    assert f"Location: https://{HOST}/a?b=c\r\n".encode() in answer


@pytest.mark.filterwarnings("ignore:.*TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_old_tls_is_refused(nginx: Nginx) -> None:
    context = nginx.trust()
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    plain = socket.create_connection(("127.0.0.1", nginx.https_port), timeout=10)
    with pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=HOST)


# ---- nginx's own answers


def test_large_body_is_refused_in_the_envelope(nginx: Nginx) -> None:
    answer = ask(nginx, "/api/echo", method="POST", body=b"x" * 1_100_000)
    assert answer.status == 413
    told = json.loads(answer.body)
    assert told["error"]["code"] == "PAYLOAD_TOO_LARGE"
    assert told["error"]["request_id"] == answer.headers["x-request-id"]
    assert told["timestamp"].endswith("Z") or "+" in told["timestamp"]


def test_absent_app_is_said_to_be_unavailable(tmp_path: Path) -> None:
    lonely = Nginx(tmp_path, "127.0.0.1:1")
    try:
        page, program = ask(lonely, "/auth/login"), ask(lonely, "/api/v1/status")
        assert (page.status, program.status) == (503, 503)
        assert page.headers["retry-after"] == program.headers["retry-after"] == "5"
        assert json.loads(program.body)["error"]["code"] == "UNAVAILABLE"
        assert b"<h1>" in page.body
    finally:
        lonely.stop()


def test_server_says_no_version(nginx: Nginx) -> None:
    assert ask(nginx, "/health").headers["server"] == "nginx"
    assert ask(nginx, "/.env").headers["server"] == "nginx"


def test_static_files_are_kept_with_the_apps_headers_and_an_id_of_each_request(nginx: Nginx) -> None:
    first, second = (
        ask(nginx, "/static/sheet.css"),
        ask(nginx, "/static/sheet.css", headers={"Accept-Encoding": "gzip"}),
    )
    assert first.status == 200, first.body
    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert second.headers["content-encoding"] == "gzip"
    ids = {first.headers["x-request-id"], second.headers["x-request-id"]}
    assert len(ids) == 2
    assert "of-the-first-caller" not in ids
    assert any((nginx.folder / "cache").rglob("*"))


def test_log_has_no_query(nginx: Nginx) -> None:
    ask(nginx, "/auth/reset-password?token=one-time-and-secret")
    log = nginx.folder / "access.log"
    until(lambda: "/auth/reset-password" in log.read_text(), seconds=3, what="the line")
    assert "one-time-and-secret" not in log.read_text()
    assert all(json.loads(line)["logger"] == "nginx" for line in log.read_text().splitlines())


# ---- requests that two parties could read differently

POST = b"POST /echo HTTP/1.1\r\n" + NAMED
GET = b"GET /echo HTTP/1.1\r\n"
AMBIGUOUS = {
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "a signed length": POST + b"Content-Length: +5\r\n\r\nhello",
    "another coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a vertical tab": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "two codings": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST /echo HTTP/1.0\r\n" + NAMED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bare carriage return": GET + NAMED + b"X: a\rY: b\r\n\r\n",
    "two hosts": GET + NAMED + b"Host: evil.test\r\n\r\n",
    "a folded line": GET + NAMED + b"X-A: a\r\n b\r\n\r\n",
    "a folded first line": GET + b" X-A: a\r\n" + NAMED + b"\r\n",
    "a NUL": GET + NAMED + b"X: a\x00b\r\n\r\n",
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_ambiguous_request_is_refused_by_nginx(nginx: Nginx, case: str) -> None:
    with nginx.connect() as connection:
        status, is_closed = raw(connection, AMBIGUOUS[case])
    assert status in {400, 501}
    assert is_closed


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_ambiguous_request_is_refused_by_gunicorn(server: Gunicorn, case: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        status, is_closed = raw(connection, AMBIGUOUS[case])
    assert status in {400, 501}
    assert is_closed


def test_bare_line_feeds_are_refused_by_gunicorn(server: Gunicorn) -> None:
    """nginx takes them, and writes the request anew with both characters before it passes it on."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        assert raw(connection, b"GET /echo HTTP/1.1\nHost: portico.test\n\n") == (400, True)


@pytest.mark.parametrize("body", [b"3\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"-1\r\n\r\n"])
def test_wrong_chunks_are_refused(nginx: Nginx, body: bytes) -> None:
    with nginx.connect() as connection:
        assert raw(connection, POST + b"Transfer-Encoding: chunked\r\n\r\n" + body) == (400, True)


# ---- slow, idle and many

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
