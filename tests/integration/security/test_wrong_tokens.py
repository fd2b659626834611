"""A secret made for one thing opens nothing else; what is stored of it opens nothing at all (A47, A66, A77)."""

from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from models import db
from tests.clients import Api, PageClient
from tests.factories import Person
from tests.integration.api.test_second_factor import challenge, enrolled, verify
from tests.integration.pages.desk import NEW_PASSWORD, link_to, make_link, token_of

pytestmark = pytest.mark.usefixtures("early_in_a_step")


def test_no_other_secret_is_an_access_token(app: Flask, client: PageClient, api: Api, alice: Person) -> None:
    client.sign_in(alice)
    session = client.get_cookie("session")
    device = client.get_cookie("device")
    assert session is not None
    assert device is not None
    pair = api.post("/auth/login", {"email": alice.email, "password": alice.password}).json["data"]
    secrets = {
        "session cookie": session.value,
        "device cookie": device.value,
        "form token": client.token("/account/profile"),
        "refresh": pair["refresh_token"],
        "reset": make_link(app, alice, "reset"),
        "verification": make_link(app, alice, "verification"),
        "password": alice.password.replace(" ", "-"),
    }
    _, codes = enrolled(api, alice)
    secrets |= {"challenge": challenge(api, alice), "recovery code": codes[0]}
    opened = {name: Api(app, secret).get("/users/me").status_code for name, secret in secrets.items()}
    assert opened == dict.fromkeys(secrets, 401)


def test_an_access_token_is_nothing_else(api: Api, alice: Person) -> None:
    token = api.as_(alice).token
    for path, body, status in (
        ("/auth/refresh", {"refresh_token": token}, 401),
        ("/auth/login/verify", {"challenge_token": token, "code": "123456"}, 401),
        ("/auth/password/reset", {"token": token, "password": NEW_PASSWORD}, 410),
        ("/auth/verify-email", {"token": token}, 410),
    ):
        assert api.post(path, body).status_code in {status, 422}, path


def test_what_is_stored_of_a_secret_does_not_stand_for_it(app: Flask, api: Api, alice: Person) -> None:
    _, codes = enrolled(api, alice)
    with app.app_context():
        digests = db.session.scalars(text("SELECT encode(code_hash, 'hex') FROM recovery_codes")).all()
        tokens = db.session.scalars(text("SELECT encode(token_hash, 'hex') FROM refresh_tokens")).all()
    assert len(digests) == len(codes)
    assert tokens
    for digest in digests[:3]:
        assert verify(api, challenge(api, alice), recovery_code=digest).status_code in {401, 422}
    for digest in tokens:
        assert api.post("/auth/refresh", {"refresh_token": digest}).status_code == 401
        assert Api(app, digest).get("/users/me").status_code == 401


def test_a_reset_link_dies_with_a_change_of_address(app: Flask, client: PageClient, alice: Person) -> None:
    """Whoever held the former mailbox holds nothing any more (A66)."""
    client.sign_in(alice)
    client.submit("/account/email", email="fresh@example.com", current_password=alice.password)
    change = token_of(link_to(app, "fresh@example.com", "/auth/confirm-email"))
    reset = make_link(app, alice, "reset")
    assert client.post("/auth/confirm-email", json={"token": change}).status_code == 200
    body: dict[str, Any] = {"token": reset, "password": NEW_PASSWORD}
    assert client.post("/auth/reset-password", json=body).status_code == 410


def test_a_token_of_one_person_changes_nobody_else(app: Flask, api: Api, alice: Person, bob: Person) -> None:
    """The account is the token's; naming another one is refused (A67)."""
    token = make_link(app, alice, "reset")
    for more in ({"user_id": bob.id}, {"id": bob.id}, {"email": bob.email}):
        answer = api.post("/auth/password/reset", {"token": token, "password": NEW_PASSWORD, **more})
        assert answer.status_code == 422
    assert api.post("/auth/password/reset", {"token": token, "password": NEW_PASSWORD}).status_code == 200
    assert api.post("/auth/login", {"email": bob.email, "password": bob.password}).status_code == 200
    assert api.post("/auth/login", {"email": bob.email, "password": NEW_PASSWORD}).status_code == 401


@pytest.mark.parametrize(
    "values",
    [
        ["Bearer {0}", "Bearer {0}"],
        ["Bearer x", "Bearer {0}"],
        ["Bearer {0}" + "x" * 100_000],
        ["Bearer\t{0}"],
    ],
    ids=["twice", "two", "a hundred kilobytes", "a tab"],
)
def test_more_than_one_token_is_none(app: Flask, api: Api, alice: Person, values: list[str]) -> None:
    """A52."""
    token = str(api.as_(alice).token)
    headers = [("Authorization", value.format(token)) for value in values]
    assert app.test_client().get("/api/v1/users/me", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "role", ["Admin", "ADMIN", "admin ", " admin", "admin\n", "\u0430dmin", "admin;", "admin'--", ""]
)
def test_a_role_of_almost_that_name_is_none(api: Api, ada: Person, bob: Person, role: str) -> None:
    """A95: case, blanks, and a Cyrillic letter that looks the same."""
    mine = api.as_(ada)
    answer = mine.patch(f"/users/{bob.id}", {"role": role})
    assert answer.status_code == 422
    assert mine.get(f"/users/{bob.id}").json["data"]["role"] == "member"
