"""Climbing: a key, a token or a cookie that may a little comes to no more by way of an address or a new account."""

from datetime import timedelta

import pytest
from flask import Flask

from models.base import now
from tests.clients import Api, PageClient
from tests.factories import Person, make_role
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
