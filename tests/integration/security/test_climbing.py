"""Climbing: a key, a token or a cookie that may a little comes to no more by way of an address or a new account."""

from datetime import timedelta

import pytest
from flask import Flask

from models.base import now
from tests.clients import Api, PageClient
from tests.factories import Person, make_person, make_role
from tests.integration.oidc.desk import run
from tests.state import unchanged

MALLORY = "mallory@example.org"
REAUTHENTICATE = "REAUTHENTICATION_REQUIRED"


def key_of(api: Api, person: Person, *scopes: str) -> Api:
    """A program with a key of this person's."""
    made = api.as_(person).post("/users/me/api-keys", {"name": "Narrow", "scopes": list(scopes)})
    return Api(api.app, made.json["data"]["key"])


def eleven_minutes_pass(app: Flask) -> None:
    run(app, "UPDATE sessions SET authenticated_at = :then", then=now() - timedelta(minutes=11))


def everything(person: Person, **changes: object) -> dict[str, object]:
    return {"name": person.name, "email": person.email, "role": "member", "is_active": True, **changes}


def test_a_narrow_key_of_an_administrator_does_not_move_his_own_account(
    app: Flask, api: Api, ada: Person
) -> None:
    key = key_of(api, ada, "users:write")
    with unchanged(app):
        refused = key.put(f"/users/{ada.id}", everything(ada, role="admin", email=MALLORY))
    assert (refused.status_code, refused.json["error"]["code"]) == (403, REAUTHENTICATE)


def test_a_key_still_moves_the_accounts_below_it(api: Api, ada: Person, bob: Person) -> None:
    key = key_of(api, ada, "users:read", "users:write")
    assert key.put(f"/users/{bob.id}", everything(bob, email="robert@example.com")).status_code == 200
    assert key.put(f"/users/{ada.id}", everything(ada, role="admin", name="Ada L.")).status_code == 200


#: What is changed, by a session or a key, of one's own account or another's: what comes of it, by PATCH and PUT alike.
TABLE = {
    "name": {"session own": 200, "session other": 200, "key own": 200, "key other": 200},
    "email": {"session own": 200, "session other": 200, "key own": 403, "key other": 200},
    "role": {"session own": 200, "session other": 200, "key own": 403, "key other": 403},
    "is_active": {"session own": 200, "session other": 200, "key own": 403, "key other": 200},
}
CHANGES: dict[str, object] = {
    "name": "Renamed",
    "email": "moved@example.com",
    "role": "editor",
    "is_active": False,
}


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("who", ["session own", "session other", "key own", "key other"])
@pytest.mark.parametrize("field", TABLE)
def test_patch_and_put_follow_one_rule(
    app: Flask, api: Api, ada: Person, bob: Person, method: str, who: str, field: str
) -> None:
    make_person(app, "Another administrator", role="admin")
    caller = key_of(api, ada, "users:read", "users:write") if who.startswith("key") else api.as_(ada)
    person, role = (ada, "admin") if who.endswith("own") else (bob, "member")
    change = {field: CHANGES[field]}
    body = change if method == "PATCH" else everything(person, **{"role": role, **change})
    answer = caller.call(method, f"/users/{person.id}", json=body)
    assert answer.status_code == TABLE[field][who], answer.json
    if answer.status_code == 200:
        assert answer.json["data"][field] == CHANGES[field]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/users/{id}/suspend", {"reason": "Found a key"}),
        ("POST", "/users/{id}/reinstate", None),
        ("DELETE", "/users/{id}/sessions", None),
        ("DELETE", "/users/{id}/factors", None),
        ("DELETE", "/users/{id}", None),
        ("PATCH", "/users/{id}", {"is_active": False}),
        ("PATCH", "/users/{id}", {"role": "member"}),
        ("PATCH", "/users/{id}", {"email": MALLORY}),
        ("DELETE", "/users/me", None),
        ("DELETE", "/users/me/sessions", None),
        ("PUT", "/users/me/picture", None),
    ],
)
def test_a_key_does_not_shut_its_owner_out(
    app: Flask, api: Api, ada: Person, method: str, path: str, body: dict[str, object] | None
) -> None:
    make_person(app, "Another administrator", role="admin")
    key = key_of(api, ada, "users:read", "users:write")
    with unchanged(app):
        answer = key.call(method, path.format(id=ada.id), json=body)
    assert answer.status_code == 403


def test_a_key_suspends_and_signs_out_others(api: Api, ada: Person, bob: Person) -> None:
    key = key_of(api, ada, "users:read", "users:write")
    assert key.delete(f"/users/{bob.id}/sessions").status_code == 200
    assert key.post(f"/users/{bob.id}/suspend", {"reason": "Left the company"}).status_code == 200
    assert key.post(f"/users/{bob.id}/reinstate").status_code == 200


@pytest.mark.parametrize("whose", ["his own", "another administrator's"])
def test_who_was_signed_in_long_ago_sets_no_address(
    app: Flask, api: Api, ada: Person, bob: Person, whose: str
) -> None:
    caller, person = api.as_(ada), ada if whose == "his own" else bob
    eleven_minutes_pass(app)
    with unchanged(app):
        refused = caller.patch(f"/users/{person.id}", {"email": MALLORY})
    assert (refused.status_code, refused.json["error"]["code"]) == (403, REAUTHENTICATE)
    assert caller.patch(f"/users/{person.id}", {"name": "Renamed", "email": person.email}).status_code == 200


def test_who_was_signed_in_long_ago_makes_nobody_who_may_something(app: Flask, api: Api, ada: Person) -> None:
    caller, role = api.as_(ada), make_role(app, "reader", "users:read")
    eleven_minutes_pass(app)
    for given in ("admin", role):
        with unchanged(app):
            refused = caller.post("/users", {"email": MALLORY, "name": "Mallory", "role": given})
        assert (refused.status_code, refused.json["error"]["code"]) == (403, REAUTHENTICATE)
    assert caller.post("/users", {"email": "dora@example.com", "name": "Dora"}).status_code == 201


def test_the_page_that_invites_asks_again_who_somebody_is(
    app: Flask, client: PageClient, ada: Person
) -> None:
    client.sign_in(ada)
    fields = {"email": MALLORY, "name": "Mallory", "role": "admin"}
    token = client.token("/admin/users/new")
    eleven_minutes_pass(app)
    refused = client.post("/admin/users/new", data={"csrf_token": token, **fields})
    assert refused.status_code == 303
    assert refused.location.startswith("/auth/reauthenticate")
