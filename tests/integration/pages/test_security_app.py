"""An app and its recovery codes on the pages: set up, shown, used, switched off (security cases A29, A72, A78)."""

import re
from urllib.parse import unquote

import pytest
from flask import Flask

from tests.clients import PageClient, browser
from tests.factories import Person
from tests.integration.api.test_second_factor import code_of
from tests.integration.pages.desk import is_signed_in, subjects
from tests.integration.pages.second_step import SECURITY, codes_in, cookie, set_up_app

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
