"""Passkeys on the pages: added, renamed, removed, and used to sign in and to confirm who one is."""

import json
from datetime import timedelta

import pytest
import time_machine
from flask import Flask

from models.base import now
from tests.authenticator import PRESENT, Authenticator
from tests.clients import Api, PageClient, browser
from tests.factories import Person
from tests.integration.api.test_second_factor import code_of
from tests.integration.pages.desk import is_signed_in, subjects
from tests.integration.pages.second_step import (
    LATER,
    SECURITY,
    add_passkey,
    codes_in,
    cookie,
    options,
    passkey_pages,
    set_up_app,
    use_passkey,
)


def test_a_passkey_is_added_renamed_and_removed(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    before = cookie(client)
    assert len(codes_in(add_passkey(client, Authenticator(), "Laptop <b>"))) == 10
    assert cookie(client) != before
    assert "Laptop &lt;b&gt;" in client.get(SECURITY).text
    assert add_passkey(client, Authenticator(), "Phone").location == SECURITY
    first, _ = passkey_pages(client)
    assert client.submit(first, name=" ").status_code == 422
    assert client.submit(first, name="Work laptop").location == SECURITY
    assert "Work laptop" in client.get(SECURITY).text
    before = cookie(client)
    assert client.submit(f"{first}/remove").location == SECURITY
    assert cookie(client) != before
    assert len(passkey_pages(client)) == 1
    assert subjects(app, alice.email).count("A second step was added") == 2
    assert "A second step was removed" in subjects(app, alice.email)


def test_a_passkey_of_somebody_else_is_not_found(
    app: Flask, client: PageClient, alice: Person, bob: Person
) -> None:
    client.sign_in(alice)
    add_passkey(client, Authenticator())
    (page,) = passkey_pages(client)
    stranger = browser(app)
    stranger.sign_in(bob)
    assert stranger.get(page).status_code == 404
    assert stranger.get(f"{page}/remove").status_code == 404
    assert stranger.submit(f"{page}/remove", SECURITY).status_code == 404
    assert len(passkey_pages(client)) == 1


@pytest.mark.parametrize("credential", ["", "{}", "[]", "not json", '{"id": "x"}', "[" * 5000, "\x00"])
def test_what_is_no_credential_is_refused_on_the_page(
    client: PageClient, alice: Person, credential: str
) -> None:
    client.sign_in(alice)
    asked = options(client, f"{SECURITY}/passkeys/options")
    refused = client.submit(
        f"{SECURITY}/passkeys/new", name="x", challenge_token=asked["challenge_token"], credential=credential
    )
    assert refused.status_code in {400, 422}
    assert passkey_pages(client) == []


def test_a_passkey_that_does_not_hold_is_refused_on_the_page(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    refused = add_passkey(client, Authenticator(), origin="http://evil.example")
    assert refused.status_code == 400
    assert "could not be verified" in refused.text
    assert passkey_pages(client) == []


def test_a_passkey_signs_a_browser_in_and_leads_on(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    device = Authenticator()
    add_passkey(client, device)
    other = browser(app)
    asked = options(other, "/auth/passkey/options")
    done = other.submit(
        "/auth/passkey",
        "/auth/login",
        challenge_token=asked["challenge_token"],
        credential=json.dumps(device.get(asked["options"])),
        next="/account/devices",
    )
    assert (done.status_code, done.location) == (303, "/account/devices")
    assert is_signed_in(other)


def test_a_refused_passkey_can_be_tried_again_on_a_page(
    app: Flask, client: PageClient, alice: Person
) -> None:
    client.sign_in(alice)
    device = Authenticator()
    add_passkey(client, device)
    other = browser(app)
    refused = use_passkey(other, device, "/auth/passkey", "/auth/passkey/options", flags=PRESENT)
    assert refused.status_code == 401
    assert "The passkey was not accepted." in refused.text
    assert "Use your passkey" in refused.text
    assert not is_signed_in(other)


def test_a_passkey_begun_over_the_api_opens_no_browser_and_the_other_way_round(
    app: Flask, client: PageClient, api: Api, alice: Person
) -> None:
    client.sign_in(alice)
    device = Authenticator()
    add_passkey(client, device)
    other = browser(app)
    of_api = api.post("/auth/passkey/options", {}).json["data"]
    body = {
        "challenge_token": of_api["challenge_token"],
        "credential": device.get(of_api["options"]),
    }
    assert other.post("/auth/passkey", json=body).status_code == 401
    of_page = options(other, "/auth/passkey/options")
    body = {"challenge_token": of_page["challenge_token"], "credential": device.get(of_page["options"])}
    assert api.post("/auth/passkey", body).status_code == 401


def test_a_passkey_is_the_second_step_of_a_browser(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    device = Authenticator()
    codes = codes_in(add_passkey(client, device))
    other = browser(app)
    assert other.sign_in(alice).location == "/auth/second-factor"
    assert not is_signed_in(other)
    page = other.get("/auth/second-factor").text
    assert "Use your passkey" in page
    assert "Use a code from your app" not in page
    done = use_passkey(other, device, "/auth/second-factor?with=passkey", "/auth/second-factor/options")
    assert done.location == "/dashboard"
    assert is_signed_in(other)
    third = browser(app)
    third.sign_in(alice)
    by_code = third.submit("/auth/second-factor?with=recovery-code", recovery_code=codes[0])
    assert by_code.location == "/dashboard"


def test_a_second_step_that_took_too_long_starts_again(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    secret, _ = set_up_app(client)
    other = browser(app)
    other.sign_in(alice)
    token = other.token("/auth/second-factor")
    with time_machine.travel(now() + timedelta(minutes=5, seconds=1)):
        late = other.post("/auth/second-factor", data={"csrf_token": token, "code": code_of(secret)})
        assert (late.status_code, late.location) == (303, "/auth/login")
        assert "Start again." in other.get("/auth/login").text
    assert other.get("/auth/second-factor").location == "/auth/login"


def test_without_a_password_there_are_no_options_for_the_second_step(client: PageClient) -> None:
    assert client.post("/auth/second-factor/options", json={}).status_code == 401


def test_a_passkey_confirms_who_one_is(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    device = Authenticator()
    add_passkey(client, device)
    with time_machine.travel(now() + LATER):
        page = client.get("/auth/reauthenticate").text
        assert "Use a passkey" in page
        assert "Use a code from your app" not in page
        before = cookie(client)
        by_passkey = "/auth/reauthenticate?with=passkey"
        refused = use_passkey(client, device, by_passkey, "/auth/reauthenticate/options", flags=PRESENT)
        assert refused.status_code == 403
        done = use_passkey(client, device, by_passkey, "/auth/reauthenticate/options")
        assert done.status_code == 303
        assert cookie(client) != before
        assert client.get(f"{SECURITY}/passkeys/new").status_code == 200


def test_where_a_site_has_no_name_passkeys_are_not_offered(
    app: Flask, client: PageClient, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.sign_in(alice)
    monkeypatch.setitem(app.config, "BASE_URL", "http://127.0.0.1:5000")
    assert "Add a passkey" not in client.get(SECURITY).text
    assert "No passkeys at this address" in client.get(f"{SECURITY}/passkeys/new").text
