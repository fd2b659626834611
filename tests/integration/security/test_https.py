"""What happens to requests over plain http where FORCE_HTTPS is on (ASVS 4.1.2, 12.2.1)."""

from typing import Any

import pytest
from flask import Flask
from werkzeug.test import create_environ, run_wsgi_app

from tests.clients import Api, PageClient
from tests.factories import Person
from tests.integration.security.test_headers import ADDRESSES, EVERYWHERE

SITE = "https://portico.example"
PAGES = [path for path in ADDRESSES if not path.startswith(("/api/", "/health"))]


@pytest.fixture(autouse=True)
def forced(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """FORCE_HTTPS on, and the site at its https address."""
    monkeypatch.setattr(app.wsgi_app, "force_https", True)
    monkeypatch.setattr(app.wsgi_app, "base_url", SITE)


def check(answer: Any) -> None:
    """An answer under all headers, once; nothing was remembered of who asked."""
    assert {name: answer.headers.getlist(name) for name in EVERYWHERE} == {
        name: [value] for name, value in EVERYWHERE.items()
    }
    for name in ("Content-Security-Policy", "X-Request-ID", "Cache-Control", "Permissions-Policy"):
        assert len(answer.headers.getlist(name)) == 1
    assert "Set-Cookie" not in answer.headers
    assert "Strict-Transport-Security" not in answer.headers, "browsers ignore it over http (RFC 6797 §8.1)"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [*PAGES, "/auth/login?next=/dashboard", "/nope%20here?a=%2F"])
def test_pages_over_http_are_redirected(client: PageClient, method: str, path: str) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == 308
    assert answer.headers["Location"] == SITE + path
    assert answer.data == b""
    check(answer)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/api/v1/status", "/api/v1/users/me", "/api/v1/nope", "/api/docs"])
def test_calls_over_http_are_refused_in_the_envelope(client: PageClient, method: str, path: str) -> None:
    answer: Any = client.open(path, method=method)
    assert answer.status_code == 403
    check(answer)
    assert answer.mimetype == "application/json"
    if method != "HEAD":
        error = answer.json["error"]
        assert error["code"] == "HTTPS_REQUIRED"
        assert error["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/auth/login", "/account/password", "/nope", "/static/css/app.css"])
def test_forms_over_http_are_refused_with_a_page(client: PageClient, method: str, path: str) -> None:
    answer = client.open(path, method=method, data={"password": "a long enough pass phrase"})
    assert answer.status_code == 403
    assert "Please come over https" in answer.text
    check(answer)


@pytest.mark.parametrize("path", ["//api/v1/status", "///api/v1/users/me", "//health"])
def test_more_slashes_lead_to_the_same_door(app: Flask, path: str) -> None:
    """Werkzeug finds the view all the same, so a call must be known as one."""
    environ = create_environ("/", "http://localhost", environ_overrides={"PATH_INFO": path})
    pieces, status, headers = run_wsgi_app(app, environ)
    assert status.startswith("200" if path == "//health" else "403")
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Security-Policy"].endswith("sandbox")
    list(pieces)


def test_programs_at_the_pages_addresses_get_the_envelope(client: PageClient, alice: Person) -> None:
    body = {"email": alice.email, "password": alice.password}
    sent = client.post("/auth/login", json=body)
    accepted = client.post("/auth/login", data=body, headers={"Accept": "application/json"})
    for answer in (sent, accepted):
        assert (answer.status_code, answer.json["error"]["code"]) == (403, "HTTPS_REQUIRED")
        check(answer)


def test_what_came_over_http_is_not_looked_at(api: Api, alice: Person) -> None:
    answer = api.post("/auth/login", {"email": alice.email, "password": alice.password})
    assert answer.status_code == 403
    assert "access_token" not in answer.text
    assert api.as_(alice).get("/users/me").status_code == 403


def test_a_foreign_host_is_refused_and_not_led_here(client: PageClient) -> None:
    for path in ("/", "/static/css/app.css", "/api/v1/status"):
        assert client.get(path, headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/health/database"])
def test_probes_are_answered_over_http(client: PageClient, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/healthy", "/health.json", "/api/v1/health"])
def test_what_only_sounds_like_a_probe_is_not_one(client: PageClient, path: str) -> None:
    assert client.get(path).status_code in {308, 403}


def test_over_https_everything_is_as_ever(client: PageClient, api: Api) -> None:
    page = client.get("/auth/login", base_url="https://localhost")
    assert page.status_code == 200
    assert "Strict-Transport-Security" in page.headers
    assert api.get("/status", base_url="https://localhost").status_code == 200


def test_the_code_has_its_page(client: PageClient) -> None:
    page = client.get("/problems/HTTPS_REQUIRED", base_url="https://localhost")
    assert page.status_code == 200
    assert "403" in page.text
