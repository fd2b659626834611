"""The second step and passkeys in Chromium: the app with and without scripts, passkeys with a virtual authenticator."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest
from playwright.sync_api import CDPSession, Page, expect

from models.base import now
from tests.browser.conftest import NewContext, Site
from tests.browser.test_accessibility import LOOKS, check
from tests.browser.test_account_flows import sign_in
from tests.factories import Person

SECURITY = "/account/security"


def code(secret: str, steps: int = 0) -> str:
    return pyotp.TOTP(secret).at(now() + timedelta(seconds=30 * steps))


def set_up_app(page: Page) -> str:
    page.goto(SECURITY)
    page.get_by_role("link", name="Set up an app").click()
    page.get_by_role("button", name="Show the QR code").click()
    return confirm_app(page)


def confirm_app(page: Page) -> str:
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    secret = page.locator("code.secret").inner_text().replace(" ", "")
    page.get_by_label("Enter the six digits").fill(code(secret, -1))
    page.get_by_role("button", name="Turn on two-step sign-in").click()
    expect(page.get_by_role("heading", name="Keep your recovery codes")).to_be_visible()
    return secret


@pytest.fixture
def alice(site: Site) -> Person:
    """Alice owns."""
    return site.person("Alice Lindqvist")


def test_an_app_from_setting_up_to_switching_off(page: Page, alice: Person, tmp_path: Path) -> None:
    sign_in(page, alice.email)
    secret = set_up_app(page)
    codes = page.locator("ul.codes code").all_inner_texts()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download as text").click()
    assert downloading.value.suggested_filename == "recovery-codes.txt"
    file = tmp_path / "codes.txt"
    downloading.value.save_as(file)
    assert set(codes) <= set(file.read_text().splitlines())
    page.get_by_role("link", name="I saved them").click()
    expect(page.get_by_text("10 of 10 left")).to_be_visible()

    page.context.clear_cookies()
    sign_in(page, alice.email)
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    page.get_by_role("link", name="Enter a recovery code").click()
    page.get_by_label("Recovery code").fill(codes[0])
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", name="Hello, Alice Lindqvist")).to_be_visible()

    page.goto(SECURITY)
    page.get_by_role("link", name="Switch codes off").click()
    page.get_by_label("Code from your app").fill(code(secret))
    page.get_by_role("button", name="Switch codes off").click()
    expect(page.get_by_text("Codes are off.")).to_be_visible()


# -------------------------------------------------------------------------------------------------------- passkeys


class Device:
    """A virtual authenticator that holds passkeys and verifies its user (CDP WebAuthn)."""

    def __init__(self, page: Page) -> None:
        self.devtools: CDPSession = page.context.new_cdp_session(page)
        self.devtools.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        made = self.devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        self.id = made["authenticatorId"]

    def verifies(self, does: bool) -> None:
        told = {"authenticatorId": self.id, "isUserVerified": does}
        self.devtools.send("WebAuthn.setUserVerified", told)

    def credentials(self) -> list[dict[str, Any]]:
        told = self.devtools.send("WebAuthn.getCredentials", {"authenticatorId": self.id})
        return list(told["credentials"])


def add_passkey(page: Page, name: str) -> None:
    page.goto(SECURITY)
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Make the passkey").click()


def test_a_passkey_from_making_it_to_removing_it(new_context: NewContext, alice: Person) -> None:
    page = new_context().new_page()
    device = Device(page)
    sign_in(page, alice.email)
    add_passkey(page, "Alice’s ThinkPad")
    expect(page.get_by_role("heading", name="Keep your recovery codes")).to_be_visible()
    page.get_by_role("link", name="I saved them").click()
    expect(page.get_by_role("paragraph").filter(has_text="Alice’s ThinkPad")).to_be_visible()
    (made,) = device.credentials()
    assert (made["rpId"], made["isResidentCredential"]) == ("localhost", True)

    # The same device again is told so by the browser itself, and the page says it.
    add_passkey(page, "Again")
    expect(page.get_by_role("alert")).to_contain_text("has a passkey for your account already")

    # As the only step.
    page.context.clear_cookies()
    page.goto("/auth/login?next=/account/devices")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", name="Devices")).to_be_visible()

    # As the second step.
    page.context.clear_cookies()
    sign_in(page, alice.email)
    expect(page.get_by_role("heading", name="One more step")).to_be_visible()
    page.get_by_role("button", name="Use your passkey").click()
    expect(page.get_by_role("heading", name="Hello, Alice Lindqvist")).to_be_visible()

    # To show again who one is.
    page.goto("/auth/reauthenticate?next=/account/security")
    page.get_by_role("link", name="Use a passkey").click()
    page.get_by_role("button", name="Use your passkey").click()
    expect(page.get_by_role("heading", name="Security", exact=True)).to_be_visible()

    page.get_by_role("link", name=re.compile("^Rename")).click()
    page.get_by_label("Name").fill("Old laptop")
    page.get_by_role("button", name="Save the name").click()
    page.get_by_role("link", name=re.compile("^Remove")).click()
    expect(page.get_by_role("heading", name="Remove Old laptop?")).to_be_visible()
    page.get_by_role("button", name="Remove this passkey").click()
    expect(page.get_by_text("The passkey is removed.")).to_be_visible()

    page.context.clear_cookies()
    page.goto("/auth/login")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("The passkey was not accepted.")).to_be_visible()


def test_a_device_that_does_not_verify_its_user_is_told_so(new_context: NewContext, alice: Person) -> None:
    page = new_context().new_page()
    device = Device(page)
    sign_in(page, alice.email)
    device.verifies(False)
    add_passkey(page, "Laptop")
    expect(page.get_by_role("alert")).to_contain_text("Nothing was confirmed")
    assert device.credentials() == []


def test_without_scripts_passkeys_are_out_of_the_way(new_context: NewContext, alice: Person) -> None:
    page = new_context(java_script_enabled=False).new_page()
    page.goto("/auth/login")
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_hidden()
    page.goto("/auth/passkey")
    expect(page.get_by_text("Passkeys need JavaScript")).to_be_visible()
    page.get_by_role("link", name="Use your password").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


# --------------------------------------------------------------------------------------------------- accessibility


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_of_security_is_accessible(new_context: NewContext, alice: Person, look: str) -> None:
    context = new_context(**LOOKS[look])
    page = context.new_page()
    Device(page)
    sign_in(page, alice.email)
    for path in ("", "/app", "/passkeys/new"):
        page.goto(f"{SECURITY}{path}")
        check(page)
    page.goto(f"{SECURITY}/app")
    page.get_by_role("button", name="Show the QR code").click()
    check(page)
    page.get_by_label("Enter the six digits").fill("000000")
    page.get_by_role("button", name="Turn on two-step sign-in").click()
    check(page)
    confirm_app(page)
    check(page)
    add_passkey(page, "A name as long as a name can be, of some sixty letters or so")
    expect(page.get_by_text("The passkey is added.")).to_be_visible()
    check(page)
    for path in ("/app/off", "/recovery-codes"):
        page.goto(f"{SECURITY}{path}")
        check(page)
    for link in ("Rename", "Remove"):
        page.goto(SECURITY)
        page.get_by_role("link", name=re.compile(f"^{link}")).click()
        check(page)
    for way in ("password", "code", "passkey"):
        page.goto(f"/auth/reauthenticate?with={way}")
        check(page)
    context.clear_cookies()
    page.goto("/auth/passkey")
    check(page)
    sign_in(page, alice.email)
    for way in ("code", "passkey", "recovery-code"):
        page.goto(f"/auth/second-factor?with={way}")
        check(page)
