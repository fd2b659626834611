"""Links that set a password: one forgotten, an invitation's first, and the first administrator's."""

import re

import pytest
from flask import Flask

from models import User, db
from tests.clients import Api, PageClient, browser
from tests.factories import PASSWORD, Person
from tests.integration.pages.desk import (
    NEW_PASSWORD,
    fingerprint,
    is_signed_in,
    link_to,
    mails_to,
    setup_token,
    subjects,
    token_of,
)
from tests.integration.pages.links import PAGES, Make, use

# ---------------------------------------------------------------------------------------- forgotten passwords


def test_a_forgotten_password_is_reset_and_every_session_ends(
    app: Flask, client: PageClient, api: Api, alice: Person
) -> None:
    client.sign_in(alice)
    caller = api.as_(alice)
    pair = api.post("/auth/login", {"email": alice.email, "password": alice.password}).json["data"]
    visitor = browser(app)
    asked = visitor.submit("/auth/forgot-password", email=alice.email)
    assert (asked.status_code, asked.location) == (303, "/auth/forgot-password/sent")
    visitor.get(link_to(app, alice.email, "/auth/reset-password"))
    token = re.search(r'name="token" value="([^"]+)"', visitor.get("/auth/reset-password").text)
    assert token
    reset = visitor.submit("/auth/reset-password", token=token[1], password=NEW_PASSWORD)
    assert (reset.status_code, reset.location) == (303, "/auth/login")
    assert "Your new password is saved." in visitor.get("/auth/login").text

    assert not is_signed_in(visitor), "nobody is signed in by a mail"
    assert not is_signed_in(client)
    assert caller.get("/users/me").status_code == 401
    assert api.post("/auth/refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401
    assert "Your password was changed" in subjects(app, alice.email)
    assert client.submit("/auth/login", email=alice.email, password=PASSWORD).status_code == 401
    assert client.submit("/auth/login", email=alice.email, password=NEW_PASSWORD).status_code == 303


@pytest.mark.parametrize("password", ["short", "passwordpassword", "alice lindqvist", "aaaaaaaaaaaa", ""])
@pytest.mark.parametrize("page", ["/auth/reset-password", "/auth/invitation"])
def test_a_weak_password_is_refused_and_the_link_stays_good(
    app: Flask, client: PageClient, make: Make, page: str, password: str, alice: Person
) -> None:
    token = make(page, alice)
    before = fingerprint(app)
    client.get(page, query_string={"token": token})
    refused = client.submit(page, token=token, password=password)
    assert refused.status_code == 422
    assert 'id="password-error"' in refused.text
    assert f'name="token" value="{token}"' in refused.text
    assert fingerprint(app) == before
    assert client.submit(page, token=token, password=NEW_PASSWORD).status_code == 303


def test_a_reset_by_json(app: Flask, client: PageClient, alice: Person) -> None:
    assert client.post("/auth/forgot-password", json={"email": alice.email}).status_code == 202
    token = token_of(link_to(app, alice.email, "/auth/reset-password"))
    weak = client.post("/auth/reset-password", json={"token": token, "password": "short"})
    assert (weak.status_code, weak.json["error"]["code"]) == (422, "WEAK_PASSWORD")
    assert (
        client.post("/auth/reset-password", json={"token": token, "password": NEW_PASSWORD}).status_code
        == 200
    )


@pytest.mark.parametrize("email", [["victim@example.com", "eve@example.com"], {"a": 1}, None, 1, ""])
def test_a_reset_goes_to_one_address_that_is_one(
    app: Flask, client: PageClient, alice: Person, email: object
) -> None:
    before = fingerprint(app)
    assert client.post("/auth/forgot-password", json={"email": email}).status_code == 422
    assert fingerprint(app) == before


def test_the_mail_goes_to_the_stored_spelling(app: Flask, client: PageClient, alice: Person) -> None:
    client.submit("/auth/forgot-password", email=alice.email.upper())
    assert len(mails_to(app, alice.email)) == 1
    assert not mails_to(app, alice.email.upper())


def test_a_forged_host_is_in_no_link(app: Flask, client: PageClient, alice: Person) -> None:
    for headers in ({"X-Forwarded-Host": "evil.example"}, {"Forwarded": "host=evil.example"}):
        client.post("/auth/forgot-password", json={"email": alice.email}, headers=headers)
    assert (
        client.post(
            "/auth/forgot-password", json={"email": alice.email}, headers={"Host": "evil.example"}
        ).status_code
        == 400
    )
    assert all("evil" not in mail.text + mail.html for mail in mails_to(app, alice.email))


def test_five_mails_a_day_and_always_the_same_answer(app: Flask, client: PageClient, alice: Person) -> None:
    for _ in range(8):
        assert client.post("/auth/forgot-password", json={"email": alice.email}).status_code == 202
    assert len(mails_to(app, alice.email)) == 5


def test_a_changed_password_ends_the_links(app: Flask, client: PageClient, make: Make, alice: Person) -> None:
    token = make("/auth/reset-password", alice)
    client.sign_in(alice)
    client.submit("/account/password", current_password=alice.password, new_password=NEW_PASSWORD)
    assert use(client, "/auth/reset-password", token) == 410


# ----------------------------------------------------------------------------------- invitations, first start


def test_an_invitation_greets_and_sets_the_first_password(
    app: Flask, client: PageClient, api: Api, ada: Person
) -> None:
    body = {"email": "ian@example.com", "name": "Ian Vetch"}
    assert api.as_(ada).post("/users", body).status_code == 201
    page = client.get(link_to(app, "ian@example.com", "/auth/invitation"), follow_redirects=True)
    assert "Welcome, Ian Vetch" in page.text
    assert "ian@example.com" in page.text
    token = re.search(r'name="token" value="([^"]+)"', page.text)
    assert token
    done = client.submit("/auth/invitation", token=token[1], password=NEW_PASSWORD)
    assert (done.status_code, done.location) == (303, "/auth/login")
    assert (
        client.submit("/auth/login", email="ian@example.com", password=NEW_PASSWORD).location == "/dashboard"
    )


ADA = {"name": "Ada Okonkwo", "email": "ada@example.com", "password": PASSWORD}


def test_the_setup_link_makes_the_first_administrator_and_signs_in(app: Flask, client: PageClient) -> None:
    token = setup_token(app)
    client.get("/auth/setup", query_string={"token": token})
    done = client.submit("/auth/setup", token=token, **ADA)
    assert (done.status_code, done.location) == (303, "/dashboard")
    assert client.get("/admin/users").status_code == 200
    with app.app_context():
        made = db.session.query(User).filter_by(email="ada@example.com").one()
    assert (made.role, made.email_verified) == ("admin", True)
    again = browser(app)
    assert again.get("/auth/setup", query_string={"token": token}).status_code == 410


def test_a_wrong_setup_form_is_shown_again_and_the_link_stays_good(app: Flask, client: PageClient) -> None:
    token = setup_token(app)
    client.get("/auth/setup", query_string={"token": token})
    refused = client.submit("/auth/setup", token=token, **{**ADA, "password": "short", "email": "x"})
    assert refused.status_code == 422
    assert 'value="Ada Okonkwo"' in refused.text
    weak = client.submit("/auth/setup", token=token, **{**ADA, "password": "short"})
    assert 'id="password-error"' in weak.text
    assert client.submit("/auth/setup", token=token, **ADA).status_code == 303


def test_the_setup_link_is_dead_once_there_is_an_administrator(
    app: Flask, client: PageClient, ada: Person
) -> None:
    token = setup_token(app)
    assert client.get("/auth/setup", query_string={"token": token}).status_code == 410
    fields = {"csrf_token": client.token(), "token": token, **ADA}
    assert client.post("/auth/setup", data=fields).status_code == 410
    assert client.post("/auth/setup", json={"token": token, **ADA}).status_code == 410


def test_setup_by_json_gives_the_session(app: Flask, client: PageClient) -> None:
    answer = client.post("/auth/setup", json={"token": setup_token(app), **ADA})
    assert (answer.status_code, answer.json["data"]["user"]["role"]) == (200, "admin")
    assert is_signed_in(client)


@pytest.mark.parametrize("page", [*PAGES, "/auth/setup"])
def test_without_any_link_the_page_says_so(client: PageClient, page: str) -> None:
    is_typed_too = page == "/auth/verify-email"
    assert client.get(page).status_code == (200 if is_typed_too else 410)
    answer = client.post(page, data={"csrf_token": client.token(), **PAGES.get(page, ("", (), ADA))[2]})
    assert answer.status_code == (422 if is_typed_too else 410)
