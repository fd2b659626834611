"""The pages of the second step: who comes to them, who has to, and when one confirms first (security case A79)."""

import pytest
import time_machine
from flask import Flask

from models.base import now
from tests.authenticator import Authenticator
from tests.clients import PageClient
from tests.factories import Person
from tests.integration.api.test_second_factor import code_of
from tests.integration.pages.second_step import (
    LATER,
    SECURITY,
    add_passkey,
    codes_in,
    passkey_pages,
    set_up_app,
)

FRESH_PAGES = ["app", "app/off", "recovery-codes", "passkeys/new"]


# ------------------------------------------------------------------------------------------------------- the way in


@pytest.mark.parametrize("page", ["", *(f"/{page}" for page in FRESH_PAGES)])
def test_strangers_are_sent_to_sign_in_first(client: PageClient, page: str) -> None:
    answer = client.get(f"{SECURITY}{page}")
    assert (answer.status_code, answer.location) == (303, f"/auth/login?next={SECURITY}{page}")


@pytest.mark.parametrize("page", FRESH_PAGES)
def test_after_ten_minutes_one_confirms_first_and_comes_back(
    client: PageClient, alice: Person, page: str
) -> None:
    client.sign_in(alice)
    with time_machine.travel(now() + LATER):
        away = client.get(f"{SECURITY}/{page}")
        assert (away.status_code, away.location) == (303, f"/auth/reauthenticate?next={SECURITY}/{page}")
        back = client.submit(away.location, password=alice.password)
        assert (back.status_code, back.location) == (303, f"{SECURITY}/{page}")
        assert client.get(back.location).status_code in {200, 303}


def test_a_button_pressed_too_late_leads_back_to_its_page(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    token = client.token(f"{SECURITY}/app")
    with time_machine.travel(now() + LATER):
        for came, back in [
            ("http://localhost/account/security/app", "?next=/account/security/app"),
            ("http://evil.example/account/security/app", ""),
            ("", ""),
        ]:
            away = client.post(
                f"{SECURITY}/app/start", data={"csrf_token": token}, headers={"Referer": came} if came else {}
            )
            assert (away.status_code, away.location) == (303, f"/auth/reauthenticate{back}")


def test_the_script_is_told_to_confirm_first(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    with time_machine.travel(now() + LATER):
        answer = client.post(f"{SECURITY}/passkeys/options", json={})
    assert (answer.status_code, answer.json["error"]["code"]) == (403, "REAUTHENTICATION_REQUIRED")


def test_options_are_for_the_script_alone(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    token = client.token(SECURITY)
    for path in (f"{SECURITY}/passkeys/options", "/auth/passkey/options", "/auth/reauthenticate/options"):
        assert client.post(path, data={"csrf_token": token}).status_code == 415
        crossed = client.post(path, json={}, headers={"Origin": "http://evil.example"})
        assert (crossed.status_code, crossed.json["error"]["code"]) == (403, "CSRF_FAILED")


def test_security_stands_in_the_menu_and_beside_the_account(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    page = client.get("/account/profile").text
    assert page.count(f'href="{SECURITY}"') == 2


# --------------------------------------------------------------------------------------------------- REQUIRE_MFA


def test_who_must_have_a_second_step_is_led_to_it(
    app: Flask, client: PageClient, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "REQUIRE_MFA", "admins")
    client.sign_in(ada)
    for page in ("/dashboard", "/account/profile", "/admin/users", f"{SECURITY}/recovery-codes"):
        assert client.get(page).location == SECURITY
    assert "Your account needs a second step" in client.get(SECURITY).text
    secret, _ = set_up_app(client)
    assert client.get("/admin/users").status_code == 200
    refused = client.submit(f"{SECURITY}/app/off", code=code_of(secret))
    assert refused.status_code == 403
    assert "needs a second step" in refused.text
    assert client.get("/admin/users").status_code == 200


def test_who_must_have_a_second_step_may_take_a_passkey(
    app: Flask, client: PageClient, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "REQUIRE_MFA", "admins")
    client.sign_in(ada)
    assert len(codes_in(add_passkey(client, Authenticator()))) == 10
    assert client.get("/admin/users").status_code == 200
    (page,) = passkey_pages(client)
    assert "It is your only second step" in client.get(f"{page}/remove").text
    refused = client.submit(f"{page}/remove", page)
    assert refused.status_code == 403
    assert passkey_pages(client) == [page]


def test_who_need_not_is_not_led_anywhere(
    app: Flask, client: PageClient, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "REQUIRE_MFA", "admins")
    client.sign_in(alice)
    assert client.get("/dashboard").status_code == 200
    assert "needs a second step" not in client.get(SECURITY).text
