"""Roles of one's own: made, changed, deleted; never above oneself, never to lock everybody out."""

import threading
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import func, select, text, update

from models import AuditEvent, Role, User, UserSession, db
from models.base import now
from services import role_service, user_service
from services.base_service import unit_of_work
from services.errors import RoleGone, RoleInUse
from services.permissions import AUDIT_READ, PERMISSIONS, ROLES_READ, ROLES_WRITE, USERS_READ, USERS_WRITE
from services.principal import Principal
from services.schemas.user import UserUpdateIn
from tests.clients import Api
from tests.factories import Person, make_person, make_role
from tests.state import unchanged, wait_for_a_lock

LIBRARIAN = {"name": "librarian", "description": "Looks after books", "permissions": [USERS_READ]}


def permissions_of(app: Flask, name: str) -> list[str]:
    with app.app_context():
        return list(db.session.execute(select(Role.permissions).where(Role.name == name)).scalar_one())


def events(app: Flask, action: str) -> list[dict[str, Any]]:
    with app.app_context():
        found = select(AuditEvent.details).where(AuditEvent.action == action)
        return list(db.session.scalars(found.order_by(AuditEvent.id)))


def writer(app: Flask, *more: str) -> Person:
    """Somebody who may write roles, and little else."""
    return make_person(app, "Willa", role=make_role(app, "writer", ROLES_READ, ROLES_WRITE, *more))


def test_a_role_is_made_changed_and_deleted(app: Flask, api: Api, ada: Person) -> None:
    program = api.as_(ada)
    made = program.post("/roles", LIBRARIAN)
    assert made.status_code == 201
    assert made.json["data"] | LIBRARIAN == made.json["data"]
    assert made.json["data"]["is_built_in"] is False
    changed = program.patch("/roles/librarian", {"name": "keeper", "permissions": [AUDIT_READ, USERS_READ]})
    assert changed.json["data"]["name"] == "keeper"
    assert changed.json["data"]["permissions"] == [USERS_READ, AUDIT_READ]
    assert program.get("/roles/librarian").status_code == 404
    assert program.delete("/roles/keeper").status_code == 200
    assert program.get("/roles/keeper").status_code == 404
    assert events(app, "role:create") == [{"role": "librarian", "after": LIBRARIAN}]
    assert events(app, "role:update") == [
        {
            "role": "librarian",
            "before": LIBRARIAN,
            "after": {**LIBRARIAN, "name": "keeper", "permissions": [USERS_READ, AUDIT_READ]},
        }
    ]
    assert events(app, "role:delete")[0]["before"]["name"] == "keeper"


def test_what_changes_nothing_is_no_event(app: Flask, api: Api, ada: Person) -> None:
    program = api.as_(ada)
    made = program.post("/roles", LIBRARIAN).json["data"]
    same = program.patch("/roles/librarian", LIBRARIAN).json["data"]
    assert same["updated_at"] == made["updated_at"]
    assert events(app, "role:update") == []


def test_holders_feel_a_change_at_their_next_request(app: Flask, api: Api, ada: Person) -> None:
    make_role(app, "librarian")
    lou = api.as_(make_person(app, "Lou", role="librarian"))
    assert lou.get("/users").status_code == 403
    api.as_(ada).patch("/roles/librarian", {"permissions": [USERS_READ]})
    assert lou.get("/users").status_code == 200
    api.as_(ada).patch("/roles/librarian", {"permissions": []})
    assert lou.get("/users").status_code == 403


def test_holders_keep_a_role_that_gets_another_name(app: Flask, api: Api, ada: Person) -> None:
    make_role(app, "librarian", USERS_READ)
    lou = make_person(app, "Lou", role="librarian")
    assert api.as_(ada).patch("/roles/librarian", {"name": "keeper"}).status_code == 200
    assert api.as_(lou).get("/users/me").json["data"]["role"] == "keeper"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "Admin"}, "name"),
        ({"name": "admin "}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 41}, "name"),
        ({"description": ""}, "description"),
        ({"description": "a\nb"}, "description"),
        ({"permissions": ["users:fly"]}, "permissions"),
        ({"permissions": [USERS_READ, "*"]}, "permissions.1"),
        ({"permissions": USERS_READ}, "permissions"),
        ({"is_built_in": True}, "is_built_in"),
    ],
)
def test_what_is_wrong_is_refused_by_name(
    app: Flask, api: Api, ada: Person, wrong: dict[str, Any], field: str
) -> None:
    program = api.as_(ada)
    with unchanged(app):
        answer = program.post("/roles", LIBRARIAN | wrong)
    assert answer.status_code == 422
    assert answer.json["error"]["details"]["field"] == field


def test_an_unknown_permission_is_told_the_known(api: Api, ada: Person) -> None:
    answer = api.as_(ada).post("/roles", LIBRARIAN | {"permissions": ["users:fly"]})
    assert all(code in answer.json["error"]["details"]["error"] for code in PERMISSIONS)


def test_a_name_is_given_once(app: Flask, api: Api, ada: Person) -> None:
    program = api.as_(ada)
    program.post("/roles", LIBRARIAN)
    make_role(app, "spare")
    with unchanged(app):
        assert program.post("/roles", LIBRARIAN).status_code == 409
        assert program.post("/roles", LIBRARIAN | {"name": "member"}).status_code == 409
        assert program.patch("/roles/spare", {"name": "librarian"}).status_code == 409


@pytest.mark.parametrize("name", ["admin", "editor", "member"])
def test_built_in_roles_keep_their_names_and_stay(app: Flask, api: Api, ada: Person, name: str) -> None:
    program = api.as_(ada)
    with unchanged(app):
        assert program.delete(f"/roles/{name}").status_code == 409
        assert program.patch(f"/roles/{name}", {"name": "other"}).status_code == 409
    assert program.patch(f"/roles/{name}", {"description": "Other words"}).status_code == 200


def test_administrators_keep_every_permission(app: Flask, api: Api, ada: Person) -> None:
    program = api.as_(ada)
    assert set(permissions_of(app, "admin")) == set(PERMISSIONS)
    with unchanged(app):
        for codes in ([], [code for code in PERMISSIONS if code != ROLES_WRITE]):
            assert program.patch("/roles/admin", {"permissions": codes}).status_code == 409
    assert program.patch("/roles/admin", {"permissions": list(PERMISSIONS)}).status_code == 200


def test_a_role_that_somebody_holds_stays(app: Flask, api: Api, ada: Person) -> None:
    make_role(app, "librarian")
    lou = make_person(app, "Lou", role="librarian", password_hash="x")
    program = api.as_(ada)
    with unchanged(app):
        assert program.delete("/roles/librarian").status_code == 409
    program.patch(f"/users/{lou.id}", {"role": "member"})
    assert program.delete("/roles/librarian").status_code == 200


def test_nobody_grants_what_he_lacks(app: Flask, api: Api) -> None:
    program = api.as_(writer(app))
    make_role(app, "spare", ROLES_READ)
    with unchanged(app):
        assert program.post("/roles", LIBRARIAN | {"permissions": [USERS_WRITE]}).status_code == 403
        assert program.patch("/roles/spare", {"permissions": [ROLES_READ, AUDIT_READ]}).status_code == 403
        assert program.patch("/roles/writer", {"permissions": [ROLES_WRITE, USERS_WRITE]}).status_code == 403
    assert program.post("/roles", LIBRARIAN | {"permissions": [ROLES_READ]}).status_code == 201


def test_nobody_touches_a_role_above_his_own(app: Flask, api: Api) -> None:
    program = api.as_(writer(app))
    make_role(app, "auditor", AUDIT_READ)
    with unchanged(app):
        for name in ("auditor", "admin"):
            assert program.patch(f"/roles/{name}", {"permissions": []}).status_code == 403
            assert program.patch(f"/roles/{name}", {"description": "Mine"}).status_code == 403
            assert program.delete(f"/roles/{name}").status_code == 403


def test_two_editors_with_one_etag_lose_no_update(app: Flask, api: Api, ada: Person) -> None:
    make_role(app, "librarian")
    program = api.as_(ada)
    tag = program.get("/roles/librarian").headers["ETag"]
    first = program.patch("/roles/librarian", {"description": "One"}, headers={"If-Match": tag})
    second = program.patch("/roles/librarian", {"description": "Two"}, headers={"If-Match": tag})
    assert (first.status_code, second.status_code) == (200, 412)
    assert program.delete("/roles/librarian", headers={"If-Match": tag}).status_code == 412
    tag = program.get("/roles/librarian").headers["ETag"]
    assert program.delete("/roles/librarian", headers={"If-Match": tag}).status_code == 200


def test_an_old_sign_in_changes_no_role(app: Flask, api: Api, ada: Person) -> None:
    make_role(app, "librarian")
    program = api.as_(ada)
    with app.app_context(), unit_of_work():
        long_ago = now() - timedelta(minutes=11)
        db.session.execute(update(UserSession).values(authenticated_at=long_ago))
    with unchanged(app):
        answers = [
            program.post("/roles", LIBRARIAN),
            program.patch("/roles/librarian", {"permissions": []}),
            program.delete("/roles/librarian"),
        ]
    assert {answer.json["error"]["code"] for answer in answers} == {"REAUTHENTICATION_REQUIRED"}


def principal(person: Person) -> Principal:
    everything = frozenset(PERMISSIONS)
    return Principal(person.id, uuid4(), person.email, person.name, "admin", everything, "api", now(), False)


@pytest.mark.real_database
def test_a_role_being_given_away_is_not_deleted(app: Flask, ada: Person, bob: Person) -> None:
    make_role(app, "librarian")
    found: list[str] = []

    def delete() -> None:
        with app.app_context():
            try:
                with unit_of_work():
                    role_service.delete("librarian", by=principal(ada))
            except RoleInUse:
                found.append("in use")

    with app.app_context(), unit_of_work():
        user_service.update(bob.id, UserUpdateIn(role="librarian"), by=principal(ada))
        thread = threading.Thread(target=delete)
        thread.start()
        wait_for_a_lock()
    thread.join(5)
    assert found == ["in use"]


@pytest.mark.real_database
def test_a_role_being_deleted_is_given_to_nobody(app: Flask, ada: Person, bob: Person) -> None:
    make_role(app, "librarian")
    found: list[str] = []

    def give() -> None:
        with app.app_context():
            try:
                with unit_of_work():
                    user_service.update(bob.id, UserUpdateIn(role="librarian"), by=principal(ada))
            except RoleGone:
                found.append("gone")

    with app.app_context(), unit_of_work():
        role_service.delete("librarian", by=principal(ada))
        db.session.flush()
        thread = threading.Thread(target=give)
        thread.start()
        wait_for_a_lock()
    thread.join(5)
    assert found == ["gone"]
    with app.app_context():
        assert db.session.scalar(select(User.role).where(User.id == bob.id)) == "member"


@pytest.mark.real_database
def test_of_two_who_make_a_role_of_one_name_one_is_told(app: Flask, api: Api, ada: Person) -> None:
    programs = [api.as_(ada), api.as_(ada)]
    start, statuses = threading.Barrier(2), []

    def make(program: Api) -> None:
        start.wait(5)
        statuses.append(program.post("/roles", LIBRARIAN).status_code)

    threads = [threading.Thread(target=make, args=(program,)) for program in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(statuses) == [201, 409]
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(Role).where(text("NOT is_built_in"))) == 1
