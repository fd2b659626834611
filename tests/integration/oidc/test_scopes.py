"""The issuer's access tokens do what their scopes name, never more than their account may (ASVS 10.3.2)."""

from typing import Any

import pytest
from flask import Flask

from tests.clients import Api
from tests.factories import Person
from tests.integration.oidc.desk import connect
from tests.issuer import FakeIssuer
from tests.state import unchanged


def caller(issuer: FakeIssuer, app: Flask, person: Person, **claims: Any) -> Api:
    connect(app, person, issuer)
    return Api(app, issuer.access_token(**claims))


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


def test_a_scope_gives_nobody_what_his_account_may_not(issuer: FakeIssuer, app: Flask, alice: Person) -> None:
    program = caller(issuer, app, alice, scope="users:read users:write audit:read roles:write")
    for path in ("/users", "/audit-events"):
        assert program.get(path).status_code == 403
