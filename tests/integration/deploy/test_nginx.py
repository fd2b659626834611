"""nginx with the project's configuration in front of gunicorn: what gets through it, and what it answers itself."""

import json
import socket
import ssl
from pathlib import Path

import pytest

from tests.integration.deploy.asking import NAMED, ask
from tests.integration.deploy.servers import HOST, NGINX, Nginx, get, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed"),
]


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
