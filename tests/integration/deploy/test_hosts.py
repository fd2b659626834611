"""Portico under gunicorn on a socket for IPv4 and IPv6: hosts, proxies and https as they really come in."""

import json
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from localdb.testing import Databases
from tests.integration.deploy.servers import HOST, ROOT, Gunicorn

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 here"),
]


@pytest.fixture(scope="module")
def server(test_databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """Production with everything that operators are told to set."""
    with test_databases.fresh_database("hosts") as url:
        started = Gunicorn(
            ROOT,
            "app",
            tmp_path_factory.mktemp("hosts") / "log",
            FLASK_CONFIG="production",
            FLASK_HOST="::",
            BASE_URL=f"https://{HOST}",
            TRUSTED_HOSTS=f"www.{HOST}",
            TRUSTED_PROXIES="127.0.0.1",
            FORCE_HTTPS="true",
            SECRET_KEY=secrets.token_urlsafe(48),
            JWT_SECRET_KEY=secrets.token_urlsafe(48),
            FIELD_ENCRYPTION_KEY=Fernet.generate_key().decode(),
            DATABASE_URL=url,
            MAIL_SERVER="127.0.0.1",
            MAIL_DEFAULT_SENDER="portico@portico.test",
        )
        yield started
        started.kill()


def ask(
    server: Gunicorn, line: str, *headers: str, address: str = "127.0.0.1"
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a request that is sent as it is written."""
    with socket.create_connection((address, server.port), timeout=20) as connection:
        connection.sendall("\r\n".join([line, *headers, "Connection: close", "", ""]).encode("latin-1"))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    return int(status.split()[1]), {n.lower(): v for n, v in (ln.split(": ", 1) for ln in lines)}, body


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/database", "/health/detailed"])
@pytest.mark.parametrize(
    "host", [["Host: 10.0.0.5:8000"], ["Host: [::1]"], ["Host: evil.test"], ["Host: a..b"]]
)
def test_probes_are_answered_by_address(server: Gunicorn, path: str, host: list[str]) -> None:
    for address in ("127.0.0.1", "::1"):
        assert ask(server, f"GET {path} HTTP/1.1", *host, address=address)[0] == 200
        assert ask(server, f"GET {path} HTTP/1.0", *host, address=address)[0] == 200
    assert ask(server, f"GET {path} HTTP/1.0")[0] == 200
    assert ask(server, f"HEAD {path} HTTP/1.0")[0] == 200


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("GET /auth/login HTTP/1.1", "text/html"),
        ("GET /static/css/app.css HTTP/1.1", "text/html"),
        ("GET /nope HTTP/1.0", "text/html"),
        ("GET /api/v1/status HTTP/1.1", "application/json"),
        ("GET https://evil.test/api/v1/status HTTP/1.1", "application/json"),
    ],
)
@pytest.mark.parametrize("host", ["evil.test", f"{HOST}.evil.test", "127.0.0.1", "a..b", f"{HOST}@evil.test"])
def test_a_foreign_host_gets_a_finished_refusal(server: Gunicorn, line: str, kind: str, host: str) -> None:
    for proto in ("https", "http"):
        status, headers, body = ask(server, line, f"Host: {host}", f"X-Forwarded-Proto: {proto}")
        assert status == 400
        assert headers["content-type"].startswith(kind)
        assert headers["x-content-type-options"] == "nosniff"
        assert "content-security-policy" in headers
        assert ("strict-transport-security" in headers) is (proto == "https")
        assert b"evil" not in body


@pytest.mark.parametrize(
    "host", [HOST, HOST.upper(), f"{HOST}.", f"{HOST}:443", f"www.{HOST}", f"WWW.{HOST}.:8443"]
)
def test_own_names_are_answered(server: Gunicorn, host: str) -> None:
    """From an IPv4 proxy on the IPv6 socket, which is believed about https."""
    for schemes in ("https", "HTTPS"):
        status, headers, _ = ask(
            server, "GET /auth/login HTTP/1.1", f"Host: {host}", f"X-Forwarded-Proto: {schemes}"
        )
        assert (status, "strict-transport-security" in headers) == (200, True)


def test_over_http_pages_lead_to_https_and_the_rest_is_refused(server: Gunicorn) -> None:
    for method in ("GET", "HEAD"):
        status, headers, body = ask(server, f"{method} /auth/login?next=/x HTTP/1.1", f"Host: {HOST}")
        assert (status, headers["location"], body) == (308, f"https://{HOST}/auth/login?next=/x", b"")
    status, headers, body = ask(server, "GET /api/v1/status HTTP/1.1", f"Host: {HOST}")
    assert (status, json.loads(body)["error"]["code"]) == (403, "HTTPS_REQUIRED")
    status, headers, body = ask(server, "POST /auth/login HTTP/1.1", f"Host: {HOST}", "Content-Length: 0")
    assert (status, headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert headers["x-frame-options"] == "DENY"


def test_a_stranger_is_not_believed_about_https(server: Gunicorn) -> None:
    status, *_ = ask(
        server, "GET /auth/login HTTP/1.1", f"Host: {HOST}", "X-Forwarded-Proto: https", address="::1"
    )
    assert status == 308


def test_the_log_has_the_plain_address_of_the_caller(server: Gunicorn) -> None:
    ids = {f"caller-{secrets.token_hex(8)}": sent for sent in ("203.0.113.9:50123", "[2001:db8::9]:443", "")}
    for request_id, sent in ids.items():
        ask(
            server,
            "GET /auth/login HTTP/1.1",
            f"Host: {HOST}",
            "X-Forwarded-Proto: https",
            f"X-Forwarded-For: 6.6.6.6, {sent}" if sent else "X-Other: 1",
            f"X-Request-ID: {request_id}",
        )
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if '"caller-' in line]
    told = {ids[line["request_id"]]: line["address"] for line in lines}
    assert told == {"203.0.113.9:50123": "203.0.113.9", "[2001:db8::9]:443": "2001:db8::9", "": "127.0.0.1"}
