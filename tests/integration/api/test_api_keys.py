"""API keys: what they open, and what they never do."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine

from models.base import now
from services import outbox_service
from tests.clients import Api
from tests.conftest import counted
from tests.factories import Person

KEY = {"name": "Nightly backup", "scopes": ["users:read"]}


def made(api: Api, person: Person, **changes: Any) -> dict[str, Any]:
    answer: Any = api.as_(person).post("/users/me/api-keys", {**KEY, **changes})
    assert answer.status_code == 201
    data: dict[str, Any] = answer.json["data"]
    return data


def test_a_key_does_what_its_scopes_say(api: Api, ada: Person, bob: Person) -> None:
    caller = Api(api.app, made(api, ada)["key"])
    assert caller.get("/users").status_code == 200
    assert caller.get(f"/users/{bob.id}").status_code == 200
    assert caller.get("/users/me").json["data"]["id"] == ada.id
    assert caller.get("/audit-events").status_code == 403
    assert caller.patch(f"/users/{bob.id}", {"name": "Robert"}).status_code == 403


def test_a_key_is_shown_once_and_told_to_its_owner(api: Api, ada: Person) -> None:
    key = made(api, ada)
    assert key["key"].startswith("ptk_")
    assert key["key"].startswith(key["prefix"])
    listed = api.as_(ada).get("/users/me/api-keys").json["data"]
    assert [row["name"] for row in listed] == ["Nightly backup"]
    assert "key" not in listed[0]
    with api.app.app_context():
        assert "A new API key was made" in [mail.subject for mail in outbox_service.mailbox()]


@pytest.mark.real_database  # where the first use stays noted, as in life
def test_a_key_costs_no_more_statements_than_a_token(api: Api, ada: Person, bob: Person) -> None:
    caller = Api(api.app, made(api, ada)["key"])
    caller.get(f"/users/{bob.id}")
    with counted() as statements:
        caller.get(f"/users/{bob.id}")
    assert len(statements) == 2


def test_nobody_gives_a_key_more_than_he_has(api: Api, alice: Person) -> None:
    answer = api.as_(alice).post("/users/me/api-keys", KEY)
    assert answer.status_code == 422
    assert answer.json["error"]["details"]["field"] == "scopes"


def test_a_key_loses_what_its_owner_loses(api: Api, ada: Person) -> None:
    from tests.factories import make_person

    boss = make_person(api.app, "Other Admin", role="admin")
    caller = Api(api.app, made(api, boss)["key"])
    assert caller.get("/users").status_code == 200
    api.as_(ada).patch(f"/users/{boss.id}", {"role": "member"})
    assert caller.get("/users").status_code == 403
    api.as_(ada).post(f"/users/{boss.id}/suspend", {"reason": "Looking into it"})
    assert caller.get("/users/me").status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/users/me", {"name": "Taken Over"}),
        ("POST", "/users/me/password", {"current_password": "x", "new_password": "y"}),
        ("POST", "/users/me/email", {"email": "x@example.com", "current_password": "x"}),
        ("POST", "/users/me/totp", None),
        ("POST", "/users/me/api-keys", KEY),
        ("GET", "/users/me/api-keys", None),
        ("POST", "/auth/reauthenticate", {"password": "x"}),
        ("POST", "/auth/logout-all", None),
        ("DELETE", "/users/me/sessions", None),
    ],
)
def test_a_key_changes_nothing_of_its_owners_account(
    api: Api, ada: Person, method: str, path: str, body: dict[str, Any] | None
) -> None:
    caller = Api(api.app, made(api, ada)["key"])
    answer = caller.call(method, path, **({"json": body} if body else {}))
    assert answer.status_code == 403


def test_a_revoked_key_is_refused_at_once(api: Api, ada: Person) -> None:
    key = made(api, ada)
    assert api.as_(ada).delete(f"/users/me/api-keys/{key['id']}").status_code == 200
    assert Api(api.app, key["key"]).get("/users/me").status_code == 401


def test_a_key_of_somebody_else_is_not_found(api: Api, ada: Person, alice: Person) -> None:
    key = made(api, ada)
    assert api.as_(alice).delete(f"/users/me/api-keys/{key['id']}").status_code == 404
    assert Api(api.app, key["key"]).get("/users/me").status_code == 200


def test_a_key_ends_when_it_expires(api: Api, ada: Person) -> None:
    key = made(api, ada, expires_at=(now() + timedelta(days=1)).isoformat())
    assert Api(api.app, key["key"]).get("/users/me").status_code == 200
    with time_machine.travel(now() + timedelta(days=1, seconds=1)):
        assert Api(api.app, key["key"]).get("/users/me").status_code == 401


def test_an_end_in_the_past_is_refused(api: Api, ada: Person) -> None:
    past = (now() - timedelta(seconds=1)).isoformat()
    answer = api.as_(ada).post("/users/me/api-keys", {**KEY, "expires_at": past})
    assert answer.status_code == 422
    assert answer.json["error"]["details"]["field"] == "expires_at"


@pytest.mark.parametrize("change", ["flip", "cut", "upper", "other"])
def test_a_mistyped_key_is_refused(api: Api, ada: Person, change: str) -> None:
    key = made(api, ada)["key"]
    wrong = {"flip": key[:-1] + ("0" if key[-1] != "0" else "1"), "cut": key[:-1], "upper": key.upper()}
    token = wrong.get(change, "ptk_" + "x" * 51)
    assert Api(api.app, token).get("/users/me").status_code == 401


def test_making_a_key_needs_a_fresh_sign_in(api: Api, ada: Person) -> None:
    login: Any = api.post("/auth/login", {"email": ada.email, "password": ada.password})
    caller = Api(api.app, login.json["data"]["access_token"])
    with time_machine.travel(now() + timedelta(minutes=10, seconds=5)):
        answer = caller.post("/users/me/api-keys", KEY)
    assert answer.status_code == 403
    assert answer.json["error"]["code"] == "REAUTHENTICATION_REQUIRED"


def test_a_reset_of_the_password_revokes_every_key(api: Api, ada: Person) -> None:
    key = made(api, ada)["key"]
    api.post("/auth/password/forgot", {"email": ada.email})
    with api.app.app_context():
        mail = next(mail for mail in outbox_service.mailbox() if "reset-password?token=" in mail.text)
    token = mail.text.split("token=")[1].split()[0]
    api.post("/auth/password/reset", {"token": token, "password": "another lantern in rain"})
    assert Api(api.app, key).get("/users/me").status_code == 401


def test_the_database_holds_no_usable_key(api: Api, ada: Person) -> None:
    from sqlalchemy import text

    from models import db

    key = made(api, ada)["key"]
    with api.app.app_context():
        stored = str(db.session.execute(text("SELECT t::text FROM api_keys t")).scalars().all())
    assert key not in stored
    assert key.encode().hex() not in stored
