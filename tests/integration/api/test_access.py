"""Who may call what: role × route, walked from the URL map."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask

from blueprints.http.access import Rule
from models import Role, db
from models.base import now
from models.second_factor import TotpCredential
from services.base_service import unit_of_work
from services.permissions import PERMISSIONS
from tests.clients import Api
from tests.factories import Person, make_person, make_role
from tests.state import unchanged

NAME = "<string(maxlength=40):name>"
#: What an administrator sends; a guarded route that wants a body and has no line here fails the test.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/users"): {"email": "dora@example.com", "name": "Dora"},
    ("PUT", "/users/<id:user_id>"): {
        "email": "robert@example.com",
        "name": "Robert",
        "role": "editor",
        "is_active": True,
    },
    ("PATCH", "/users/<id:user_id>"): {"name": "Robert"},
    ("POST", "/users/<id:user_id>/suspend"): {"reason": "Sent spam."},
    ("POST", "/roles"): {"name": "librarian", "description": "Looks after books", "permissions": []},
    ("PATCH", f"/roles/{NAME}"): {"description": "Changed"},
}


@dataclass(frozen=True)
class Route:
    """A method of an address below /api/v1, and who may use it."""

    method: str
    pattern: str
    access: Rule
    wants_body: bool

    def path(self, person: Person) -> str:
        """A real address: about `person`; of what has a UUID, one that nobody has."""
        path = self.pattern.replace("<id:user_id>", str(person.id))
        path = re.sub(r"<id:\w+>", "1", re.sub(r"<uuid:\w+>", str(uuid4()), path))
        return path.replace(NAME, "spare")

    @property
    def body(self) -> dict[str, Any] | None:
        """What to send. Who is refused is refused before anybody looks at it."""
        return BODIES.get((self.method, self.pattern), {}) if self.wants_body else None


def routes(app: Flask) -> Iterator[Route]:
    """Every route of the API that wants a token."""
    for rule in app.url_map.iter_rules():
        view: Any = app.view_functions[rule.endpoint]
        contract = getattr(view, "contract", None)
        if contract is None or not contract.allow.signed_in:
            continue
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield Route(method, rule.rule.removeprefix("/api/v1"), contract.allow, contract.body is not None)


def with_app(app: Flask, person: Person) -> None:
    """An authenticator app, to be taken away."""
    with app.app_context(), unit_of_work():
        db.session.add(TotpCredential(user_id=person.id, seed_encrypted=b"x", confirmed_at=now()))


def call(program: Api, route: Route, person: Person) -> int:
    """The status of a call as an administrator would make it."""
    return program.call(route.method, route.path(person), json=route.body).status_code


def test_without_a_token_every_route_is_401(app: Flask, api: Api, bob: Person) -> None:
    with unchanged(app):
        found = {(route.method, route.pattern): call(api, route, bob) for route in routes(app)}
    assert len(found) >= 20
    assert set(found.values()) == {401}


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "ä", "x" * 5000])
def test_with_a_token_that_is_none_every_route_is_401(app: Flask, bob: Person, token: str) -> None:
    program = Api(app, token)
    assert {call(program, route, bob) for route in routes(app)} == {401}


@pytest.mark.parametrize("role", ["member", "editor"])
def test_without_the_permission_every_route_is_403(app: Flask, api: Api, bob: Person, role: str) -> None:
    program = api.as_(make_person(app, "Mia", role=role))
    guarded = [route for route in routes(app) if route.access.permission]
    with unchanged(app):
        found = {(route.method, route.pattern): call(program, route, bob) for route in guarded}
    assert len(found) >= 12
    assert set(found.values()) == {403}


def test_what_asks_for_no_permission_still_hides_other_people(
    app: Flask, api: Api, alice: Person, bob: Person
) -> None:
    program = api.as_(alice)
    others = [route for route in routes(app) if not route.access.permission and "user_id" in route.pattern]
    with unchanged(app):
        found = {(route.method, route.pattern): call(program, route, bob) for route in others}
    assert found == {("GET", "/users/<id:user_id>"): 404, ("PATCH", "/users/<id:user_id>"): 404}


def test_with_the_permission_every_route_works(app: Flask, api: Api, ada: Person) -> None:
    program = api.as_(ada)
    found = {}
    for route in (route for route in routes(app) if route.access.permission):
        person = make_person(app, "Somebody", password_hash="x")
        if route.pattern == f"/roles/{NAME}":
            make_role(app, "spare")
        if route.pattern.endswith("/factors"):
            with_app(app, person)
        if route.pattern.endswith("/reinstate"):
            program.post(f"/users/{person.id}/suspend", {"reason": "Sent spam."})
        found[route.method, route.pattern] = call(program, route, person)
    refused = {route: status for route, status in found.items() if not 200 <= status < 300}
    assert {status for (_, pattern), status in refused.items() if "<uuid:" in pattern} <= {404}
    assert {route: status for route, status in refused.items() if "<uuid:" not in route[1]} == {}


@pytest.mark.parametrize("code", list(PERMISSIONS))
def test_one_permission_opens_its_routes_and_no_other(app: Flask, api: Api, bob: Person, code: str) -> None:
    with app.app_context(), unit_of_work():
        db.session.add(Role(name="one", description="One thing", permissions=[code]))
    make_role(app, "spare")
    program = api.as_(make_person(app, "Otto", role="one"))
    for route in routes(app):
        if route.access.permission and route.access.permission != code:
            assert call(program, route, bob) == 403, route
        elif route.access.permission and route.method == "GET":
            assert call(program, route, bob) == 200, route


def test_a_cookie_opens_nothing(app: Flask, bob: Person) -> None:
    client = app.test_client()
    client.set_cookie("session", "anything")
    for route in routes(app):
        response = client.open(f"/api/v1{route.path(bob)}", method=route.method, json=route.body)
        assert response.status_code == 401, route
