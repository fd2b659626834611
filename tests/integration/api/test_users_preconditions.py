"""Changes that meet: If-Match tells the second of two editors, Idempotency-Key gives a repeated call one effect."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from models import User
from tests.clients import Api
from tests.factories import Person, make_person
from tests.integration.api.administration import count, fault, mails_to
from tests.state import unchanged

# ------------------------------------------------------------------------------------------- two editors (If-Match)


def test_of_two_editors_the_second_is_told(app: Flask, admin: Api, bob: Person) -> None:
    tag = admin.get(f"/users/{bob.id}").headers["ETag"]
    first = admin.patch(f"/users/{bob.id}", {"name": "Robert"}, headers={"If-Match": tag})
    assert first.status_code == 200
    calls: list[Callable[[], TestResponse]] = [
        lambda: admin.patch(f"/users/{bob.id}", {"name": "Bobby"}, headers={"If-Match": tag}),
        lambda: admin.put(
            f"/users/{bob.id}",
            {"name": "Bobby", "email": bob.email, "role": "member", "is_active": True},
            headers={"If-Match": tag},
        ),
        lambda: admin.delete(f"/users/{bob.id}", headers={"If-Match": tag}),
    ]
    for call in calls:
        with unchanged(app):
            response = call()
        assert (response.status_code, fault(response)["code"]) == (412, "PRECONDITION_FAILED")
    fresh = admin.get(f"/users/{bob.id}").headers["ETag"]
    assert admin.patch(f"/users/{bob.id}", {"name": "Bobby"}, headers={"If-Match": fresh}).status_code == 200


def test_any_of_several_tags_or_a_star_will_do(admin: Api, bob: Person) -> None:
    tag = admin.get(f"/users/{bob.id}").headers["ETag"]
    several = {"If-Match": f'"0123", {tag}'}
    assert admin.patch(f"/users/{bob.id}", {"name": "Robert"}, headers=several).status_code == 200
    assert admin.patch(f"/users/{bob.id}", {"name": "Bobby"}, headers={"If-Match": "*"}).status_code == 200


def test_an_unchanged_account_is_not_sent_again(admin: Api, bob: Person) -> None:
    tag = admin.get(f"/users/{bob.id}").headers["ETag"]
    again = admin.get(f"/users/{bob.id}", headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")


# -------------------------------------------------------------------------------------------------- Idempotency-Key

DORA = {"email": "dora@example.com", "name": "Dora"}


def test_the_same_key_gives_the_same_answer_once(app: Flask, admin: Api) -> None:
    first, again = (admin.post("/users", DORA, headers={"Idempotency-Key": "k-1"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.data == again.data
    assert again.headers["Idempotent-Replayed"] == "true"
    assert count(app, User, email="dora@example.com") == 1
    assert mails_to(app, "dora@example.com") == ["invitation"]


def test_another_body_under_the_same_key_is_refused(app: Flask, admin: Api, bob: Person) -> None:
    admin.post("/users", DORA, headers={"Idempotency-Key": "k-1"})
    with unchanged(app):
        other = admin.post("/users", {**DORA, "email": "eve@example.com"}, headers={"Idempotency-Key": "k-1"})
        elsewhere = admin.patch(f"/users/{bob.id}", DORA, headers={"Idempotency-Key": "k-1"})
    assert [fault(response)["code"] for response in (other, elsewhere)] == ["IDEMPOTENCY_MISMATCH"] * 2
    assert other.status_code == 422


def test_a_refused_call_may_be_mended_under_the_same_key(admin: Api, bob: Person) -> None:
    taken = admin.post("/users", {**DORA, "email": bob.email}, headers={"Idempotency-Key": "k-1"})
    assert taken.status_code == 409
    assert admin.post("/users", DORA, headers={"Idempotency-Key": "k-1"}).status_code == 201


def test_a_key_is_its_callers_own(app: Flask, api: Api, admin: Api) -> None:
    admin.post("/users", DORA, headers={"Idempotency-Key": "k-1"})
    other = api.as_(make_person(app, "Second", role="admin"))
    response = other.post("/users", {**DORA, "email": "eve@example.com"}, headers={"Idempotency-Key": "k-1"})
    assert response.status_code == 201


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "k" * 256])
def test_a_key_that_is_none_is_refused(app: Flask, admin: Api, key: str) -> None:
    with unchanged(app):
        assert admin.post("/users", DORA, headers={"Idempotency-Key": key}).status_code == 400


@pytest.mark.real_database
def test_ten_at_once_under_one_key_have_one_effect(app: Flask, api: Api) -> None:
    admin = api.as_(make_person(app, "Ada Okonkwo", role="admin"))
    with ThreadPoolExecutor(10) as pool:
        calls = [
            pool.submit(admin.post, "/users", DORA, headers={"Idempotency-Key": "k-1"}) for _ in range(10)
        ]
        answers = [call.result() for call in calls]
    assert {response.status_code for response in answers} == {201}
    assert len({response.data for response in answers}) == 1
    assert sum("Idempotent-Replayed" in response.headers for response in answers) == 9
    assert count(app, User, email="dora@example.com") == 1
    assert mails_to(app, "dora@example.com") == ["invitation"]
