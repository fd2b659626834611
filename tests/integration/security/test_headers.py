"""Headers, origins and hosts (security cases A59 to A65)."""

from typing import Any

import pytest
from flask import Flask

from services.errors import Unavailable
from tests.clients import Api
from tests.factories import Person

EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "X-Permitted-Cross-Domain-Policies": "none",
}
ADDRESSES = [
    "/",
    "/auth/login",
    "/dashboard",
    "/nope",
    "/health",
    "/health/ready",
    "/problems/NOT_FOUND",
    "/static/css/app.css",
    "/api/docs",
    "/api/v1/status",
    "/api/v1/users/me",
    "/api/v1/nope",
    "/api/v1/openapi.json",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_answer_bears_the_headers_once(app: Flask, address: str) -> None:
    headers = app.test_client().get(address, buffered=True).headers
    for name, value in EVERYWHERE.items():
        assert headers.getlist(name) == [value]
    for name in ("Permissions-Policy", "Content-Security-Policy", "X-Request-ID", "Cache-Control"):
        assert len(headers.getlist(name)) == 1
    assert "Server" not in headers


def fault() -> None:
    raise RuntimeError("a fault of ours")


def away() -> None:
    raise Unavailable


@pytest.mark.parametrize(
    ("status", "method", "address", "more"),
    [
        (303, "GET", "/dashboard", {}),
        (400, "GET", "/api/v1/status", {"headers": {"Host": "evil.example"}}),
        (403, "POST", "/auth/login", {}),
        (400, "GET", "/static/css/app.css", {"headers": {"Host": "evil.example"}}),
        (404, "GET", "/nope", {}),
        (404, "GET", "/static/nope.css", {}),
        (404, "GET", "/api/v1/nope", {}),
        (405, "DELETE", "/auth/login", {}),
        (405, "POST", "/static/css/app.css", {}),
        (405, "DELETE", "/api/v1/status", {}),
        (413, "POST", "/auth/login", {"data": b"x" * 2_000_000}),
        (413, "POST", "/api/v1/auth/login", {"data": b"x" * 2_000_000, "content_type": "application/json"}),
        (415, "POST", "/api/v1/auth/login", {"data": b"x", "content_type": "text/plain"}),
        (422, "POST", "/api/v1/auth/login", {"json": {}}),
        (500, "GET", "/api/v1/status", {"instead": fault}),
        (500, "GET", "/auth/login", {"instead": fault}),
        (503, "GET", "/api/v1/status", {"instead": away}),
        (503, "GET", "/auth/login", {"instead": away}),
    ],
)
def test_refusals_and_faults_bear_them_too(
    app: Flask, monkeypatch: pytest.MonkeyPatch, status: int, method: str, address: str, more: dict[str, Any]
) -> None:
    if instead := more.pop("instead", None):
        monkeypatch.setattr(type(app), "dispatch_request", lambda *_: instead())
    answer = app.test_client().open(address, method=method, **more)
    assert answer.status_code == status
    assert {name: answer.headers.getlist(name) for name in EVERYWHERE} == {
        name: [value] for name, value in EVERYWHERE.items()
    }
    for name in ("Content-Security-Policy", "X-Request-ID"):
        assert len(answer.headers.getlist(name)) == 1
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Server" not in answer.headers


def test_who_has_to_wait_is_told_under_the_same_headers(api: Api, alice: Person) -> None:
    wrong = {"email": alice.email, "password": "wrong horse battery"}
    answer = [api.post("/auth/login", wrong) for _ in range(11)][-1]
    assert answer.status_code == 429
    assert {name: answer.headers.getlist(name) for name in EVERYWHERE} == {
        name: [value] for name, value in EVERYWHERE.items()
    }


@pytest.mark.parametrize("address", ADDRESSES)
def test_nothing_but_hashed_files_and_public_keys_is_kept(app: Flask, address: str) -> None:
    kept = app.test_client().get(address, buffered=True).headers["Cache-Control"]
    if address == "/static/css/app.css":
        assert kept == "no-cache"  # without the hash of its content it may change
    elif address != "/api/v1/openapi.json":
        assert kept == "no-store"


def test_a_file_asked_for_by_its_hash_is_kept_for_ever(app: Flask) -> None:
    page = app.test_client().get("/").get_data(as_text=True)
    address = page.split('href="/static/css/app.css')[1].split('"')[0]
    kept = app.test_client().get(f"/static/css/app.css{address}", buffered=True).headers["Cache-Control"]
    assert kept == "public, max-age=31536000, immutable"
    other = (
        app.test_client().get("/static/css/app.css?v=000000000000", buffered=True).headers["Cache-Control"]
    )
    assert other == "no-cache"


@pytest.mark.parametrize("address", ["/", "/auth/login", "/nope", "/problems", "/api/docs"])
def test_pages_have_a_policy_that_allows_nothing_inline(app: Flask, address: str) -> None:
    policy = app.test_client().get(address).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "object-src 'none'" in policy
    assert "base-uri 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert ("trusted-types default dompurify" if address == "/api/docs" else "trusted-types 'none'") in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "http" not in policy


def test_the_api_is_sandboxed(app: Flask) -> None:
    policy = app.test_client().get("/api/v1/status").headers["Content-Security-Policy"]
    assert policy == "default-src 'none'; frame-ancestors 'none'; sandbox"


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://localhost.evil.example",
        "http://evillocalhost",
        "https://localhost",
        "http://localhost",
    ],
)
def test_no_other_origin_is_let_in(api: Api, origin: str) -> None:
    answer = api.get("/status", headers={"Origin": origin})
    preflight = api.call(
        "OPTIONS", "/users", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
    )
    for response in (answer, preflight):
        assert not [name for name, _ in response.headers if name.startswith("Access-Control-")]


def over_https(app: Flask, address: str, **more: Any) -> Any:
    return app.test_client().get(address, base_url="https://localhost", buffered=True, **more)


def test_over_https_browsers_are_told_to_stay_there(app: Flask) -> None:
    for address in ADDRESSES:
        sent = over_https(app, address).headers.getlist("Strict-Transport-Security")
        assert sent == ["max-age=63072000; includeSubDomains"]
    assert "Strict-Transport-Security" not in app.test_client().get("/").headers


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost@evil.example", "localhost:80@evil", "", "a b", "localhost\t"]
)
def test_a_foreign_host_is_refused(app: Flask, host: str) -> None:
    answer = app.test_client().get("/api/v1/status", headers={"Host": host})
    assert answer.status_code == 400
    probe = app.test_client().get("/health", headers={"Host": host})
    assert probe.status_code == 200


def test_forwarded_headers_of_strangers_change_nothing(app: Flask, alice: Person) -> None:
    forged = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": "203.0.113.9",
        "Forwarded": "host=evil.example;proto=https",
        "X-Original-URL": "/admin/users",
        "X-Rewrite-URL": "/admin/users",
    }
    answer = app.test_client().get("/", headers=forged)
    assert answer.status_code == 200
    assert "evil.example" not in answer.get_data(as_text=True)
    assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "FOO"])
def test_an_odd_method_is_refused(app: Flask, method: str) -> None:
    answer = app.test_client().open("/api/v1/status", method=method)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
