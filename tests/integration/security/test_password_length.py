"""New passwords have fifteen characters (NIST SP 800-63B-4 section 3.1.1.2); those from before stay good."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.clients import Api, PageClient
from tests.factories import Person, make_person
from tests.integration.pages.desk import mails_to

pytestmark = pytest.mark.integration

FOURTEEN, FIFTEEN = "gravel orchid9", "gravel orchid 9"
Door = Callable[[Api, Person, Person, str], Any]


def _register(api: Api, alice: Person, ada: Person, password: str) -> Any:
    return api.post("/auth/register", {"email": "new@example.com", "name": "New", "password": password})


def _change(api: Api, alice: Person, ada: Person, password: str) -> Any:
    body = {"current_password": alice.password, "new_password": password}
    return api.as_(alice).post("/users/me/password", body)


def _reset(api: Api, alice: Person, ada: Person, password: str) -> Any:
    if not mails_to(api.app, alice.email):  # a refused password leaves the link good
        api.post("/auth/password/forgot", {"email": alice.email})
    token = mails_to(api.app, alice.email)[0].text.split("reset-password?token=")[1].split()[0]
    return api.post("/auth/password/reset", {"token": token, "password": password})


def _create(api: Api, alice: Person, ada: Person, password: str) -> Any:
    return api.as_(ada).post("/users", {"email": "new@example.com", "name": "New", "password": password})


@pytest.mark.parametrize("door", [_register, _change, _reset, _create])
def test_a_new_password_has_fifteen_characters_at_least(
    api: Api, alice: Person, ada: Person, door: Door
) -> None:
    refused = door(api, alice, ada, FOURTEEN)
    assert refused.status_code == 422
    assert "Use at least 15 characters" in refused.get_data(as_text=True)
    assert door(api, alice, ada, FIFTEEN).status_code in {200, 201, 202}


def test_characters_are_counted_not_bytes(api: Api) -> None:
    body = {"email": "new@example.com", "name": "New"}
    for letter in ("é", "e\u0301", "字"):  # two bytes; two code points that become one; three bytes
        short = (letter + "orchid gravel")[:14]
        assert api.post("/auth/register", {**body, "password": short}).status_code == 422
    assert api.post("/auth/register", {**body, "password": "字orchid gravel9"}).status_code == 202


def test_256_characters_are_taken_and_257_are_not(api: Api) -> None:
    body = {"email": "new@example.com", "name": "New"}
    long = ("lantern orchid gravel " * 12)[:256]
    assert api.post("/auth/register", {**body, "password": long}).status_code == 202
    assert api.post("/auth/register", {**body, "password": long + "x"}).status_code == 422


def test_a_shorter_password_from_before_still_signs_in(app: Flask, api: Api, client: PageClient) -> None:
    bob = make_person(app, "Bob", password="orchid9x")
    assert client.sign_in(bob).status_code == 303
    assert api.post("/auth/login", {"email": bob.email, "password": bob.password}).status_code == 200


def test_the_form_says_how_long_a_password_has_to_be(client: PageClient) -> None:
    assert "15 characters or more." in client.get("/auth/register").text
