"""Every page that acts, whoever made it: only from our own forms, and never by looking."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from flask import Flask
from werkzeug.routing import Rule

from tests.clients import PageClient, browser
from tests.factories import Person
from tests.integration.pages.desk import fingerprint, is_signed_in

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "nonsense"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://evillocalhost"},
    {"Origin": "https://localhost"},
    {"Origin": "http://localhost:8080"},
    {"Origin": ""},
]


def pages(app: Flask, method: str) -> Iterator[str]:
    """The address of every page that takes the method."""
    for rule in app.url_map.iter_rules():
        is_page = not rule.rule.startswith(("/api/v1/", "/health", "/static/"))
        if is_page and method in (rule.methods or set()):
            yield _address(app, rule)


def _address(app: Flask, rule: Rule) -> str:
    kinds = {"UUIDConverter": uuid4(), "IdConverter": 1, "UnicodeConverter": "NOT_FOUND"}
    values = {name: kinds[type(converter).__name__] for name, converter in rule._converters.items()}
    return app.url_map.bind("localhost").build(rule.endpoint, values)


def test_there_are_pages_that_act(app: Flask) -> None:
    assert {"/auth/login", "/auth/logout", "/account/password"} <= set(pages(app, "POST"))
    unsafe = [method for method in ("PUT", "PATCH", "DELETE") for _ in pages(app, method)]
    assert not unsafe, "forms know POST alone"


def test_no_page_acts_without_this_sessions_token(app: Flask, client: PageClient, ada: Person) -> None:
    before_login = client.token()
    client.sign_in(ada)
    of_another = browser(app)
    of_another.get("/auth/login")
    tokens = {
        "none": None,
        "old": before_login,
        "foreign": of_another.token(),
        "empty": "",
        "odd": "é.x\u2028",
    }
    before = fingerprint(app)
    for path in pages(app, "POST"):
        for name, token in tokens.items():
            refused = client.post(path, data={} if token is None else {"csrf_token": token})
            assert refused.status_code == 403, f"{path} with {name}"
            assert "request <code>" in refused.text
    assert fingerprint(app) == before
    assert is_signed_in(client)


def test_a_token_in_the_address_does_not_count(client: PageClient, ada: Person) -> None:
    client.sign_in(ada)
    token = client.token("/account/profile")
    assert client.post(f"/auth/logout?csrf_token={token}").status_code == 403


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_no_page_acts_for_another_site(
    app: Flask, client: PageClient, ada: Person, headers: dict[str, str]
) -> None:
    client.sign_in(ada)
    token = client.token("/account/profile")
    before = fingerprint(app)
    for path in pages(app, "POST"):
        form = client.post(path, data={"csrf_token": token}, headers=headers)
        json = client.post(path, json={}, headers=headers)
        assert (form.status_code, json.status_code) == (403, 403), path
        assert json.json["error"]["code"] == "CSRF_FAILED"
    assert fingerprint(app) == before


@pytest.mark.parametrize(
    "headers",
    [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://localhost"}],
    ids=str,
)
def test_our_own_forms_go_through(client: PageClient, alice: Person, headers: dict[str, str]) -> None:
    fields = {"csrf_token": client.token(), "email": alice.email, "password": alice.password}
    assert client.post("/auth/login", data=fields, headers=headers).status_code == 303


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_json_that_is_not_called_json_is_no_way_around(client: PageClient, alice: Person, kind: str) -> None:
    body = b'{"email": "%s", "password": "%s"}' % (alice.email.encode(), alice.password.encode())
    assert client.post("/auth/login", data=body, content_type=kind).status_code == 403
    assert not is_signed_in(client)


@pytest.mark.parametrize("override", [{"X-HTTP-Method-Override": "POST"}, {"X-Method-Override": "POST"}])
def test_methods_are_what_they_are(client: PageClient, alice: Person, override: dict[str, str]) -> None:
    client.sign_in(alice)
    client.get("/auth/logout?_method=POST", headers=override)
    assert is_signed_in(client)


def test_looking_at_any_page_changes_nothing(
    app: Flask, client: PageClient, ada: Person, alice: Person, bob: Person
) -> None:
    client.sign_in(ada)
    before = fingerprint(app)
    for path in pages(app, "GET"):
        if not path.startswith("/dev/"):
            client.get(path)
            client.head(path)
    assert fingerprint(app) == before
    assert is_signed_in(client)
