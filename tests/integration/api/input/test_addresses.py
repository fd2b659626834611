"""An address that is spelt otherwise, or is no text, leads nowhere."""

import pytest
from flask import Flask

from tests.clients import Api
from tests.factories import Person
from tests.integration.api.input.refusals import ABSURD, TOO_LARGE, refused
from tests.state import unchanged


@pytest.mark.parametrize(
    "user_id",
    [
        "0",
        "-1",
        "01",
        "+1",
        "1.0",
        "1e3",
        "x",
        "%31%30%30x",
        str(TOO_LARGE),
        ABSURD,
        "½",
        "１",
        "1 ",
        "1%20",
        "null",
    ],
)
def test_what_is_no_id_is_not_found(app: Flask, api: Api, ada: Person, user_id: str) -> None:
    caller = api.as_(ada)
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        with unchanged(app):
            answer = caller.call(method, f"/users/{user_id}")
        refused(answer, 404, "NOT_FOUND")


def test_the_largest_id_is_looked_for(api: Api, ada: Person) -> None:
    refused(api.as_(ada).get(f"/users/{2**63 - 1}"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "address",
    [
        "/api/v1/users/me/",
        "/api/v1//users/me",
        "//api/v1/users/me",
        "/api/v1/users//me",
        "/api/v1/Users/me",
        "/api/v1/users/me;x",
        "/api/v1/users/me%2e",
        "/api/v1/users/%2e%2e/users/me",
        "/api/v1/auth/../users/me",
        "/api/v1/./users/me",
        "/api/v1/users%2fme%2f",
        "/api/v1/users/me%20",
        "/api/v2/users/me",
    ],
)
def test_another_spelling_of_an_address_is_no_address(api: Api, ada: Person, address: str) -> None:
    refused(api.as_(ada).call("GET", address), 404, "NOT_FOUND")


def test_an_encoded_letter_is_the_same_address_under_the_same_rule(api: Api, ada: Person) -> None:
    assert api.as_(ada).get("/users/%6de").status_code == 200
    refused(api.get("/users/%6de"), 401, "AUTHENTICATION_REQUIRED")


@pytest.mark.parametrize(
    "path", ["/users/%00", "/roles/a%00b", "/roles/a%0ab", "/roles/%1b[31m", "/roles/%7f"]
)
def test_control_characters_in_an_address_are_refused(api: Api, ada: Person, path: str) -> None:
    refused(api.as_(ada).get(path), 400, "BAD_REQUEST")


@pytest.mark.parametrize("raw", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"a\xc3"])
def test_an_address_that_is_no_utf8_is_refused(api: Api, ada: Person, raw: bytes) -> None:
    path = {"PATH_INFO": (b"/api/v1/roles/" + raw).decode("latin-1")}
    refused(api.as_(ada).get("/roles/x", environ_overrides=path), 400, "BAD_REQUEST")
