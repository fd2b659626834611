"""nginx with the project's configuration in front of gunicorn: what gets through it, and what it answers itself."""

import json
import socket
import ssl
from pathlib import Path

import pytest

from tests.integration.deploy.asking import NAMED, ask, ask_raw, plainly
from tests.integration.deploy.servers import HOST, NGINX, Nginx, get

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
    answer = ask_raw(plainly(nginx.http_port), b"GET /a?b=c HTTP/1.1\r\n" + NAMED + b"\r\n")
    assert answer.status == 308
    assert answer.headers["location"] == f"https://{HOST}:{nginx.https_port}/a?b=c"


@pytest.mark.parametrize(
    "path", ["/api/v1/status", "//api/v1/status", "/%61pi/v1/status?a=b", "/a/../api/v1/status"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_programs_over_http_are_refused_and_not_redirected(nginx: Nginx, method: str, path: str) -> None:
    """A redirect would let them send their tokens in the clear for good (ASVS 4.1.2)."""
    request = f"{method} {path} HTTP/1.1\r\nAuthorization: Bearer x\r\nContent-Length: 0\r\n"
    answer = ask_raw(plainly(nginx.http_port), request.encode() + NAMED + b"\r\n")
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (403, "HTTPS_REQUIRED")
    assert "location" not in answer.headers


@pytest.mark.parametrize("size", [b"3", b"99999999"])
def test_form_over_http_is_refused_by_a_page(nginx: Nginx, size: bytes) -> None:
    request = b"POST /auth/login HTTP/1.1\r\n" + NAMED + b"Content-Length: " + size + b"\r\n\r\na=b"
    answer = ask_raw(plainly(nginx.http_port), request)
    assert answer.status == 403
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_http_on_the_port_of_https_is_refused(nginx: Nginx) -> None:
    answer = ask_raw(plainly(nginx.https_port), b"GET /api/v1/status HTTP/1.1\r\n" + NAMED + b"\r\n")
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (403, "HTTPS_REQUIRED")


def test_app_is_told_the_sites_own_name_and_port(nginx: Nginx) -> None:
    for written in (HOST, HOST.upper(), f"{HOST}:1"):
        seen = json.loads(ask(nginx, "/echo", headers={"Host": written}).body)
        assert seen["headers"]["Host"] == f"{HOST}:{nginx.https_port}"


@pytest.mark.parametrize("path", ["/static", "/health/", "/dev", "/metrics"])
def test_no_redirect_tells_an_inner_port(nginx: Nginx, path: str) -> None:
    answer = ask(nginx, path)
    assert answer.status == 404
    assert "location" not in answer.headers


@pytest.mark.filterwarnings("ignore:.*TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_old_tls_is_refused(nginx: Nginx) -> None:
    context = nginx.trust()
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    plain = socket.create_connection(("127.0.0.1", nginx.https_port), timeout=10)
    with pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=HOST)


# ---- what it adds


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
