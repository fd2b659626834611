"""Accounts over the API."""

from tests.clients import Api
from tests.conftest import counted
from tests.factories import Person


def test_a_person_reads_his_own_account(api: Api, alice: Person) -> None:
    response = api.as_(alice).get("/users/me")
    assert response.status_code == 200
    assert response.json["data"]["email"] == alice.email


def test_another_account_is_not_found(api: Api, alice: Person, bob: Person) -> None:
    assert api.as_(alice).get(f"/users/{bob.id}").status_code == 404


def test_reading_one_user_costs_two_statements(api: Api, ada: Person, bob: Person) -> None:
    caller = api.as_(ada)
    caller.get(f"/users/{bob.id}")
    with counted() as statements:
        caller.get(f"/users/{bob.id}")
    assert len(statements) == 2


def test_a_list_costs_three_statements(api: Api, ada: Person, alice: Person, bob: Person) -> None:
    caller = api.as_(ada)
    with counted() as statements:
        response = caller.get("/users?per_page=1")
    assert response.json["pagination"]["total"] == 3
    assert len(statements) == 3
