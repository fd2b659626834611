"""The second step and passkeys on the pages: set up, shown, used, switched off (security cases A29, A72, A78, A79)."""

import json
import re
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
import time_machine
from flask import Flask

from models.base import now
from tests.authenticator import PRESENT, Authenticator
from tests.clients import Answer, Api, PageClient, browser
from tests.factories import Person
from tests.integration.api.test_second_factor import code_of
from tests.integration.pages.desk import is_signed_in, subjects

SECURITY = "/account/security"
FRESH_PAGES = ["app", "app/off", "recovery-codes", "passkeys/new"]
LATER = timedelta(minutes=10, seconds=5)


def cookie(client: PageClient) -> str:
    kept = client.get_cookie("session")
    assert kept is not None
    return kept.value


def set_up_app(client: PageClient) -> tuple[str, list[str]]:
    """Through the pages; the key, and the recovery codes."""
    client.submit(f"{SECURITY}/app/start", f"{SECURITY}/app")
    page = client.get(f"{SECURITY}/app").text
    shown = re.search(r'<code class="secret">([^<]*)</code>', page)
    assert shown
    secret = shown[1].replace(" ", "")
    done = client.submit(f"{SECURITY}/app", code=code_of(secret, steps=-1))
    assert done.status_code == 200
    return secret, codes_in(done)


def codes_in(page: Answer) -> list[str]:
    return re.findall(r"<li><code>([0-9a-z-]{19})</code></li>", page.text)


def options(client: PageClient, path: str) -> dict[str, Any]:
    answer = client.post(path, json={})
    assert answer.status_code == 200, answer.json
    return dict(answer.json["data"])


def add_passkey(client: PageClient, device: Authenticator, name: str = "Laptop", **bent: Any) -> Answer:
    """As the script of the page does it."""
    asked = options(client, f"{SECURITY}/passkeys/options")
    return client.submit(
        f"{SECURITY}/passkeys/new",
        name=name,
        challenge_token=asked["challenge_token"],
        credential=json.dumps(device.create(asked["options"], **bent)),
    )


def use_passkey(client: PageClient, device: Authenticator, path: str, ask_at: str, **bent: Any) -> Answer:
    asked = options(client, ask_at)
    return client.submit(
        path,
        challenge_token=asked["challenge_token"],
        credential=json.dumps(device.get(asked["options"], **bent)),
    )


def passkey_pages(client: PageClient) -> list[str]:
    return re.findall(rf'href="({SECURITY}/passkeys/[0-9a-f-]{{36}})"', client.get(SECURITY).text)


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


# --------------------------------------------------------------------------------------------------------- the app


def test_an_app_is_set_up_and_asked_for_from_then_on(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    elsewhere = browser(app)
    elsewhere.sign_in(alice)
    before = cookie(client)
    secret, codes = set_up_app(client)
    assert len(set(codes)) == 10
    assert cookie(client) != before
    assert not is_signed_in(elsewhere)
    assert "A second step was added" in subjects(app, alice.email)
    overview = client.get(SECURITY).text
    assert "10 of 10 left" in overview
    assert "Switch codes off" in overview
    asked = elsewhere.sign_in(alice)
    assert asked.location == "/auth/second-factor"
    assert elsewhere.submit("/auth/second-factor", code=code_of(secret)).location == "/dashboard"


def test_a_copied_cookie_dies_with_the_change(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    thief = browser(app)
    thief.set_cookie("session", cookie(client))
    assert is_signed_in(thief)
    set_up_app(client)
    assert is_signed_in(client)
    assert not is_signed_in(thief)


def test_confirming_who_one_is_changes_the_cookie(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    before = cookie(client)
    client.submit("/auth/reauthenticate", password=alice.password)
    assert cookie(client) != before


def test_the_key_is_shown_as_text_and_drawn(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    assert "Show the QR code" in client.get(f"{SECURITY}/app").text
    client.submit(f"{SECURITY}/app/start", f"{SECURITY}/app")
    page = client.get(f"{SECURITY}/app").text
    assert re.search(r'<code class="secret">([A-Z2-7]{4} ){7}[A-Z2-7]{4}</code>', page)
    assert re.search(r'<svg class="qr" viewBox="0 0 \d+ \d+" role="img"', page)
    assert "style=" not in page


def test_a_wrong_first_code_switches_nothing_on(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    client.submit(f"{SECURITY}/app/start", f"{SECURITY}/app")
    refused = client.submit(f"{SECURITY}/app", code="000 000")
    assert refused.status_code == 422
    assert 'id="code-error"' in refused.text
    assert "Set up an app" in client.get(SECURITY).text


def test_a_code_without_a_key_is_refused(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    assert client.submit(f"{SECURITY}/app", code="123456").status_code == 409


def test_an_app_that_is_on_is_not_set_up_again(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    set_up_app(client)
    assert client.get(f"{SECURITY}/app").location == SECURITY


def test_codes_are_switched_off_with_a_last_code(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    secret, _ = set_up_app(client)
    refused = client.submit(f"{SECURITY}/app/off", code="000000")
    assert refused.status_code == 422
    before = cookie(client)
    done = client.submit(f"{SECURITY}/app/off", code=code_of(secret))
    assert (done.status_code, done.location) == (303, SECURITY)
    assert cookie(client) != before
    assert "Codes are off." in client.get(SECURITY).text
    assert browser(app).sign_in(alice).location == "/dashboard"


# --------------------------------------------------------------------------------------------------- recovery codes


def test_recovery_codes_can_be_kept_as_a_file_without_scripts(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    client.submit(f"{SECURITY}/app/start", f"{SECURITY}/app")
    page = client.get(f"{SECURITY}/app").text
    secret = page.split('<code class="secret">')[1].split("</code>")[0].replace(" ", "")
    shown = client.submit(f"{SECURITY}/app", code=code_of(secret, steps=-1))
    link = re.search(
        r'download="recovery-codes.txt" href="data:text/plain;charset=utf-8,([^"]*)"', shown.text
    )
    assert link
    file = unquote(link[1])
    assert alice.email in file
    assert all(code in file for code in codes_in(shown))
    assert shown.headers["Cache-Control"] == "no-store"


def test_recovery_codes_are_shown_once(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    _, codes = set_up_app(client)
    for page in (SECURITY, f"{SECURITY}/recovery-codes", f"{SECURITY}/app"):
        assert codes[0] not in client.get(page).text


def test_new_recovery_codes_replace_the_former(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    _, former = set_up_app(client)
    fresh = codes_in(client.submit(f"{SECURITY}/recovery-codes"))
    assert len(set(fresh) - set(former)) == 10
    other = browser(app)
    other.sign_in(alice)
    by_code = "/auth/second-factor?with=recovery-code"
    assert other.submit(by_code, recovery_code=former[0]).status_code == 401
    assert other.submit(by_code, recovery_code=fresh[0]).location == "/dashboard"


@pytest.mark.parametrize(("used", "warned"), [(6, False), (7, True)])
def test_three_codes_or_fewer_are_warned_about(
    app: Flask, client: PageClient, alice: Person, used: int, warned: bool
) -> None:
    app.config["RATELIMIT_ENABLED"], kept = False, app.config["RATELIMIT_ENABLED"]
    try:
        client.sign_in(alice)
        _, codes = set_up_app(client)
        for code in codes[:used]:
            other = browser(app)
            other.sign_in(alice)
            other.submit("/auth/second-factor?with=recovery-code", recovery_code=code)
    finally:
        app.config["RATELIMIT_ENABLED"] = kept
    assert ("Few recovery codes left" in client.get(SECURITY).text) is warned


def test_without_a_second_step_there_are_no_codes_to_make(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    assert client.get(f"{SECURITY}/recovery-codes").location == SECURITY


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


# -------------------------------------------------------------------------------------------------------- passkeys


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
