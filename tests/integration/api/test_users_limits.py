"""What no administrator may do: leave no administrator behind, or give and manage more than he may himself."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func
from werkzeug.test import TestResponse

from models import Role, User, db
from services import user_service
from services.base_service import unit_of_work
from services.permissions import USERS_READ, USERS_WRITE
from tests.clients import Api
from tests.factories import Person, make_person
from tests.integration.api.administration import count, fault
from tests.state import unchanged, wait_for_a_lock

# ------------------------------------------------------------------------------------------------ the last one stays


@pytest.mark.parametrize(
    "act",
    [
        lambda admin, ada: admin.delete(f"/users/{ada.id}"),
        lambda admin, ada: admin.post(f"/users/{ada.id}/suspend", {"reason": "Bye."}),
        lambda admin, ada: admin.patch(f"/users/{ada.id}", {"role": "member"}),
        lambda admin, ada: admin.patch(f"/users/{ada.id}", {"is_active": False}),
        lambda admin, ada: admin.put(
            f"/users/{ada.id}", {"name": "A", "email": "a@example.com", "role": "editor", "is_active": True}
        ),
    ],
    ids=["delete", "suspend", "demote", "deactivate", "replace"],
)
def test_the_last_administrator_stays(
    app: Flask, admin: Api, ada: Person, act: Callable[[Api, Person], TestResponse]
) -> None:
    make_person(app, "Suspended Sam", role="admin", is_active=False, suspended_at=func.now())
    with unchanged(app):
        response = act(admin, ada)
    assert (response.status_code, fault(response)["code"]) == (409, "LAST_ADMIN")


def test_one_of_two_administrators_may_go(app: Flask, admin: Api, ada: Person) -> None:
    make_person(app, "Second", role="admin")
    assert admin.patch(f"/users/{ada.id}", {"role": "member"}).status_code == 200


# -------------------------------------------------------------------------------------------- nobody rises by himself


@pytest.fixture
def helper(app: Flask, api: Api) -> Api:
    """Hanna may change accounts, and nothing else."""
    with app.app_context(), unit_of_work():
        role = Role(name="helper", description="Helps", permissions=[USERS_READ, USERS_WRITE])
        db.session.add(role)
    return api.as_(make_person(app, "Hanna", role="helper"))


def test_nobody_gives_a_role_above_his_own(app: Flask, helper: Api, bob: Person) -> None:
    me = helper.get("/users/me").get_json()["data"]["id"]
    for path in (f"/users/{bob.id}", f"/users/{me}"):
        with unchanged(app):
            response = helper.patch(path, {"role": "admin"})
        assert (response.status_code, fault(response)["code"]) == (403, "FORBIDDEN")
    with unchanged(app):
        made = helper.post("/users", {"email": "dora@example.com", "name": "Dora", "role": "admin"})
    assert made.status_code == 403
    assert helper.patch(f"/users/{bob.id}", {"role": "editor"}).status_code == 200


def test_nobody_manages_an_account_above_his_own(app: Flask, helper: Api, ada: Person) -> None:
    calls: list[Callable[[], TestResponse]] = [
        lambda: helper.patch(f"/users/{ada.id}", {"email": "mine@example.com"}),
        lambda: helper.post(f"/users/{ada.id}/suspend", {"reason": "Coup."}),
        lambda: helper.delete(f"/users/{ada.id}"),
        lambda: helper.delete(f"/users/{ada.id}/sessions"),
    ]
    for call in calls:
        with unchanged(app):
            assert call().status_code == 403


def test_a_person_changes_his_own_name_and_nothing_else(app: Flask, api: Api, bob: Person) -> None:
    program = api.as_(bob)
    assert program.patch(f"/users/{bob.id}", {"name": "Robert"}).status_code == 200
    for change in (
        {"role": "admin"},
        {"is_active": True},
        {"email": "x@example.com"},
        {"name": "B", "role": "admin"},
    ):
        with unchanged(app):
            assert program.patch(f"/users/{bob.id}", change).status_code == 403


# ------------------------------------------------------------------------------------------------------ at one instant


@pytest.mark.real_database
@pytest.mark.parametrize("change", [{"role": "member"}, {"is_active": False}])
def test_of_two_administrators_who_remove_each_other_one_stays(
    app: Flask, api: Api, change: dict[str, Any]
) -> None:
    people = [make_person(app, name, role="admin") for name in ("Ada Okonkwo", "Second Admin")]
    programs = [api.as_(person) for person in people]
    both_ready = threading.Barrier(2)

    def remove(program: Api, other: Person) -> TestResponse:
        both_ready.wait()
        return program.patch(f"/users/{other.id}", change)

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(remove, programs[0], people[1]), pool.submit(remove, programs[1], people[0])]
        answers = [call.result() for call in calls]
    loser = max(answers, key=lambda response: response.status_code)
    assert min(response.status_code for response in answers) == 200
    # Mostly the first; one of the others when he was a whole request behind.
    assert fault(loser)["code"] in {"LAST_ADMIN", "FORBIDDEN", "INVALID_TOKEN", "NOT_FOUND"}
    assert count(app, User, role="admin", is_active=True) == 1


@pytest.mark.real_database
def test_whoever_waits_for_the_other_is_told_that_he_would_be_the_last(app: Flask, api: Api) -> None:
    ada, other = (make_person(app, name, role="admin") for name in ("Ada Okonkwo", "Second Admin"))
    program = api.as_(other)
    with ThreadPoolExecutor(1) as pool, app.app_context():
        with unit_of_work():
            user_service.set_role(user_service.load(other.id), "member", by=None)
            db.session.flush()
            call = pool.submit(program.patch, f"/users/{ada.id}", {"role": "member"})
            wait_for_a_lock()
        response = call.result()
    assert (response.status_code, fault(response)["code"]) == (409, "LAST_ADMIN")
    assert count(app, User, role="admin", is_active=True) == 1
