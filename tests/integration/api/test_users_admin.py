"""Administration over the API: accounts made, changed, suspended, deleted, and every refusal."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from models import AuditEvent, OneTimeToken, UserSession, db
from tests.clients import Api
from tests.factories import PASSWORD, Person
from tests.integration.api.administration import count, events_about, fault, mails_to, user_of
from tests.state import unchanged

# ------------------------------------------------------------------------------------------------------------- make


def test_an_account_with_a_password_is_ready_at_once(app: Flask, admin: Api) -> None:
    response = admin.post(
        "/users", {"email": "Dora@Example.com", "name": "Dora", "role": "editor", "password": PASSWORD}
    )
    assert response.status_code == 201
    made = response.get_json()["data"]
    assert (made["email"], made["role"], made["is_active"], made["email_verified"]) == (
        "dora@example.com",
        "editor",
        True,
        True,
    )
    signed_in = admin.post("/auth/login", {"email": "dora@example.com", "password": PASSWORD})
    assert signed_in.status_code == 200
    assert not mails_to(app, "dora@example.com")
    assert events_about(app, made["id"]) == ["account:create", "account:login:success"]


def test_an_account_without_a_password_is_invited(app: Flask, admin: Api) -> None:
    made = admin.post("/users", {"email": "dora@example.com", "name": "Dora"}).get_json()["data"]
    assert (made["role"], made["email_verified"]) == ("member", False)
    assert mails_to(app, "dora@example.com") == ["invitation"]
    assert count(app, OneTimeToken, user_id=made["id"], purpose="invite") == 1
    assert events_about(app, made["id"]) == ["account:create", "account:invite"]


@pytest.mark.parametrize(
    ("body", "field", "status", "code"),
    [
        ({"name": "Dora"}, "email", 422, "VALIDATION_ERROR"),
        ({"email": "dora@example.com"}, "name", 422, "VALIDATION_ERROR"),
        ({"email": "dora", "name": "Dora"}, "email", 422, "VALIDATION_ERROR"),
        ({"email": "dora@example.com", "name": " "}, "name", 422, "VALIDATION_ERROR"),
        ({"email": "dora@example.com", "name": "D" * 121}, "name", 422, "VALIDATION_ERROR"),
        ({"email": "dora@example.com", "name": "Do\x00ra"}, "name", 422, "VALIDATION_ERROR"),
        ({"email": "dora@example.com", "name": "Dora", "role": "king"}, "role", 422, "VALIDATION_ERROR"),
        ({"email": "dora@example.com", "name": "Dora", "role": "Admin"}, "role", 422, "VALIDATION_ERROR"),
        ({"email": "dora@example.com", "name": "Dora", "role": "admin "}, "role", 422, "VALIDATION_ERROR"),
        (
            {"email": "dora@example.com", "name": "Dora", "password": "short"},
            "password",
            422,
            "WEAK_PASSWORD",
        ),
        (
            {"email": "dora@example.com", "name": "Dora", "is_active": False},
            "is_active",
            422,
            "VALIDATION_ERROR",
        ),
        ({"email": "dora@example.com", "name": "Dora", "id": 1}, "id", 422, "VALIDATION_ERROR"),
        ({"email": "dora@example.com", "name": 7}, "name", 422, "VALIDATION_ERROR"),
    ],
)
def test_a_new_account_that_is_wrong_is_refused(
    app: Flask, admin: Api, body: dict[str, Any], field: str, status: int, code: str
) -> None:
    with unchanged(app):
        response = admin.post("/users", body)
    assert (response.status_code, fault(response)["code"]) == (status, code)
    assert fault(response)["details"]["field"] == field


def test_an_unknown_role_is_told_which_there_are(admin: Api) -> None:
    response = admin.post("/users", {"email": "dora@example.com", "name": "Dora", "role": "king"})
    assert fault(response)["details"]["error"] == "Must be one of: admin, editor, member"


def test_a_taken_address_is_refused_whatever_its_letters(app: Flask, admin: Api, bob: Person) -> None:
    with unchanged(app):
        response = admin.post("/users", {"email": bob.email.upper(), "name": "Dora"})
    assert (response.status_code, fault(response)["code"]) == (409, "EMAIL_TAKEN")


# ----------------------------------------------------------------------------------------------------------- change


def test_patch_changes_what_is_sent_and_tells_the_audit_log(app: Flask, admin: Api, bob: Person) -> None:
    response = admin.patch(f"/users/{bob.id}", {"name": "Robert"})
    assert response.get_json()["data"]["name"] == "Robert"
    assert response.get_json()["data"]["email"] == bob.email
    with app.app_context():
        event = db.session.scalars(select(AuditEvent).where(AuditEvent.target_id == bob.id)).one()
    assert event.action == "account:update"
    assert event.details == {"before": {"name": bob.name}, "after": {"name": "Robert"}}


def test_patch_with_nothing_new_changes_nothing(app: Flask, admin: Api, bob: Person) -> None:
    with unchanged(app):
        assert admin.patch(f"/users/{bob.id}", {"name": bob.name, "role": "member"}).status_code == 200
        assert admin.patch(f"/users/{bob.id}", {}).status_code == 200


def test_another_address_kills_links_and_both_addresses_are_told(app: Flask, admin: Api, bob: Person) -> None:
    admin.post("/auth/password/forgot", {"email": bob.email})
    assert count(app, OneTimeToken, user_id=bob.id) == 1
    assert admin.patch(f"/users/{bob.id}", {"email": "robert@example.com"}).status_code == 200
    assert count(app, OneTimeToken, user_id=bob.id) == 0
    assert "email_set" in mails_to(app, bob.email)
    assert mails_to(app, "robert@example.com") == ["email_set"]


def test_another_role_counts_at_once_and_is_told(app: Flask, api: Api, admin: Api, bob: Person) -> None:
    program = api.as_(bob)
    assert program.get("/users").status_code == 403
    assert admin.patch(f"/users/{bob.id}", {"role": "admin"}).status_code == 200
    assert program.get("/users").status_code == 200
    assert mails_to(app, bob.email) == ["role_changed"]
    assert events_about(app, bob.id) == ["account:role:change"]


def test_put_sets_everything(app: Flask, api: Api, admin: Api, bob: Person) -> None:
    program = api.as_(bob)
    everything = {"name": "Robert", "email": "robert@example.com", "role": "editor", "is_active": False}
    response = admin.put(f"/users/{bob.id}", everything)
    assert response.status_code == 200
    assert everything.items() <= response.get_json()["data"].items()
    assert program.get("/users/me").status_code == 401


@pytest.mark.parametrize("missing", ["name", "email", "role", "is_active"])
def test_put_wants_everything(app: Flask, admin: Api, bob: Person, missing: str) -> None:
    everything = {"name": "Robert", "email": "robert@example.com", "role": "editor", "is_active": True}
    del everything[missing]
    with unchanged(app):
        response = admin.put(f"/users/{bob.id}", everything)
    assert (response.status_code, fault(response)["details"]["field"]) == (422, missing)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"role": "king"}, 422),
        ({"role": "Admin"}, 422),
        ({"name": ""}, 422),
        ({"name": None}, 422),
        ({"is_active": "false"}, 422),
        ({"password": PASSWORD}, 422),
        ({"password_hash": "x"}, 422),
        ({"email_verified": True}, 422),
        ({"created_at": "2020-01-01T00:00:00Z"}, 422),
    ],
)
def test_a_change_that_is_wrong_is_refused(
    app: Flask, admin: Api, bob: Person, change: dict[str, Any], status: int
) -> None:
    with unchanged(app):
        response = admin.patch(f"/users/{bob.id}", {"name": "Robert", **change})
    assert response.status_code == status
    assert fault(response)["details"]["field"] == next(iter(change))


def test_of_a_change_that_is_refused_in_the_middle_nothing_stays(
    app: Flask, admin: Api, alice: Person, bob: Person
) -> None:
    with unchanged(app):
        response = admin.patch(f"/users/{bob.id}", {"name": "Robert", "role": "editor", "email": alice.email})
    assert (response.status_code, fault(response)["code"]) == (409, "EMAIL_TAKEN")


def test_a_change_of_nobody_is_not_found(app: Flask, admin: Api) -> None:
    with unchanged(app):
        for number in ("999999", "0", "007", "9223372036854775808", "-1", "x"):
            assert admin.patch(f"/users/{number}", {"name": "Robert"}).status_code == 404
            assert admin.delete(f"/users/{number}").status_code == 404


# ------------------------------------------------------------------------------------------------ suspend, reinstate


def test_suspending_ends_every_session_and_tells_why(app: Flask, api: Api, admin: Api, bob: Person) -> None:
    program = api.as_(bob)
    admin.post("/auth/password/forgot", {"email": bob.email})
    response = admin.post(f"/users/{bob.id}/suspend", {"reason": "Sent spam."})
    assert response.get_json()["data"]["is_active"] is False
    assert program.get("/users/me").status_code == 401
    assert count(app, OneTimeToken, user_id=bob.id) == 0
    assert "suspended" in mails_to(app, bob.email)
    refused = admin.post("/auth/login", {"email": bob.email, "password": bob.password})
    assert fault(refused)["code"] == "INVALID_CREDENTIALS"


def test_a_reinstated_person_signs_in_again(app: Flask, admin: Api, bob: Person) -> None:
    admin.post(f"/users/{bob.id}/suspend", {"reason": "Sent spam."})
    response = admin.post(f"/users/{bob.id}/reinstate")
    assert response.get_json()["data"]["is_active"] is True
    assert admin.post("/auth/login", {"email": bob.email, "password": bob.password}).status_code == 200
    user = user_of(app, bob.id)
    assert user is not None
    assert (user.suspended_at, user.suspension_reason) == (None, None)
    assert {"reinstated", "suspended"} <= set(mails_to(app, bob.email))


def test_twice_suspended_or_reinstated_is_a_conflict(app: Flask, admin: Api, bob: Person) -> None:
    with unchanged(app):
        assert admin.post(f"/users/{bob.id}/reinstate").status_code == 409
    admin.post(f"/users/{bob.id}/suspend", {"reason": "Sent spam."})
    with unchanged(app):
        assert admin.post(f"/users/{bob.id}/suspend", {"reason": "Again."}).status_code == 409


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 501}, {"reason": 1}])
def test_suspending_wants_a_reason(app: Flask, admin: Api, bob: Person, body: dict[str, Any]) -> None:
    with unchanged(app):
        response = admin.post(f"/users/{bob.id}/suspend", body)
    assert (response.status_code, fault(response)["details"]["field"]) == (422, "reason")


# --------------------------------------------------------------------------------------------- sessions and events


def test_sessions_of_somebody_are_listed_and_ended(app: Flask, api: Api, admin: Api, bob: Person) -> None:
    phone, laptop = api.as_(bob), api.as_(bob)
    listed = admin.get(f"/users/{bob.id}/sessions").get_json()["data"]
    assert len(listed) == 2
    assert not any(session["current"] for session in listed)
    assert admin.delete(f"/users/{bob.id}/sessions").status_code == 200
    assert phone.get("/users/me").status_code == laptop.get("/users/me").status_code == 401
    assert admin.get("/users/me").status_code == 200
    assert events_about(app, bob.id) == ["account:session:end_others"]


def test_events_of_somebody_are_his_alone(admin: Api, alice: Person, bob: Person) -> None:
    admin.patch(f"/users/{alice.id}", {"name": "Alicia"})
    admin.patch(f"/users/{bob.id}", {"name": "Robert"})
    events = admin.get(f"/users/{bob.id}/events").get_json()["data"]
    assert [event["target_id"] for event in events] == [bob.id]
    assert events[0]["actor_name"] == "Ada Okonkwo"


# ------------------------------------------------------------------------------------------------------------ delete


def test_a_deleted_account_is_gone_and_its_events_stay(app: Flask, api: Api, admin: Api, bob: Person) -> None:
    program = api.as_(bob)
    assert admin.delete(f"/users/{bob.id}").status_code == 200
    assert user_of(app, bob.id) is None
    assert program.get("/users/me").status_code == 401
    assert count(app, UserSession, user_id=bob.id) == 0
    assert mails_to(app, bob.email) == ["account_deleted"]
    assert events_about(app, bob.id) == ["account:delete"]
    assert admin.get(f"/users/{bob.id}").status_code == 404
    assert admin.delete(f"/users/{bob.id}").status_code == 404
