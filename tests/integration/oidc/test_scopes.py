"""The issuer's access tokens do what their scopes name, never more than their account may (ASVS 10.3.2)."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from tests.clients import Api
from tests.factories import Person
from tests.integration.oidc.desk import connect
from tests.issuer import FakeIssuer
from tests.state import unchanged

PLACEHOLDER = re.compile(r"<(\w+)(?:\(.*?\))?:\w+>")
SAMPLES = {"id": "1", "uuid": "00000000-0000-0000-0000-000000000000", "string": "admin"}


def caller(issuer: FakeIssuer, app: Flask, person: Person, **claims: Any) -> Api:
    connect(app, person, issuer)
    return Api(app, issuer.access_token(**claims))


def what_changes_something(app: Flask) -> Iterator[tuple[str, str]]:
    for route in app.url_map.iter_rules():
        rule: Any = getattr(app.view_functions[route.endpoint], "access", None)
        if route.rule.startswith("/api/v1/") and rule.signed_in:
            path = PLACEHOLDER.sub(lambda found: SAMPLES[found[1]], route.rule.removeprefix("/api/v1"))
            for method in (route.methods or set()) - {"GET", "HEAD", "OPTIONS"}:
                yield method, path


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": "openid users:read"},
        {"scope": None, "scp": "users:read"},
        {"scope": None, "scp": ["users:read"]},
        {"permissions": ["users:read", 7, None]},
    ],
)
def test_a_scope_opens_what_it_names_and_no_more(
    issuer: FakeIssuer, app: Flask, ada: Person, bob: Person, claims: dict[str, Any]
) -> None:
    program = caller(issuer, app, ada, **claims)
    assert program.get("/users").status_code == 200
    assert program.get(f"/users/{bob.id}").status_code == 200
    with unchanged(app):
        assert program.patch(f"/users/{bob.id}", {"name": "Robert"}).status_code == 403
        assert program.delete(f"/users/{bob.id}").status_code == 403
        assert program.get("/audit-events").status_code == 403


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": "openid profile"},
        {"scope": None},
        {"scope": ""},
        {"scope": "USERS:READ users:read:all users"},
        {"scope": {"users:read": True}},
        {"scope": 7},
        {"permissions": "openid"},
        {"permissions": [["users:read"]]},
    ],
)
def test_without_the_scope_an_administrator_does_only_what_anybody_may(
    issuer: FakeIssuer, app: Flask, ada: Person, claims: dict[str, Any]
) -> None:
    program = caller(issuer, app, ada, **claims)
    assert program.get("/users").status_code == 403
    assert program.get("/users/me").status_code == 200


def test_without_a_scope_it_changes_nothing_by_any_address(
    issuer: FakeIssuer, app: Flask, ada: Person
) -> None:
    """Every address of the API that signed-in people change something at, also those still to be written."""
    program = caller(issuer, app, ada, scope="openid profile")
    Api(app).as_(ada)  # a session that could be ended
    calls = list(what_changes_something(app))
    assert ("DELETE", "/users/me/sessions") in calls
    for method, path in calls:
        with unchanged(app):
            answer = program.call(method, path, **({} if method == "DELETE" else {"json": {}}))
        assert answer.status_code == 403, (method, path)
        assert answer.json["error"]["code"] in {"FORBIDDEN", "REAUTHENTICATION_REQUIRED"}, (method, path)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/users/me", {"name": "Ada L."}),
        ("DELETE", "/users/me/sessions", None),
        ("POST", "/auth/logout-all", None),
        ("POST", "/users/me/restore", None),
        ("POST", "/users/me/export", None),
        ("POST", "/users/me/email", {"email": "x@example.com", "current_password": "x"}),
    ],
)
def test_a_scope_for_others_changes_nothing_of_ones_own(
    issuer: FakeIssuer, app: Flask, ada: Person, method: str, path: str, body: dict[str, Any] | None
) -> None:
    program = caller(issuer, app, ada, scope="users:read users:write")
    with unchanged(app):
        answer = program.call(method, path, json=body)
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "FORBIDDEN")


def test_a_scope_that_says_so_changes_something(
    issuer: FakeIssuer, app: Flask, ada: Person, bob: Person
) -> None:
    program = caller(issuer, app, ada, scope="users:read users:write")
    assert program.patch(f"/users/{bob.id}", {"name": "Robert"}).status_code == 200


def test_a_scope_gives_nobody_what_his_account_may_not(issuer: FakeIssuer, app: Flask, alice: Person) -> None:
    program = caller(issuer, app, alice, scope="users:read users:write audit:read roles:write")
    for path in ("/users", "/audit-events"):
        assert program.get(path).status_code == 403
