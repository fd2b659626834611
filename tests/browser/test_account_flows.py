"""What people do with an account, in Chromium, with and without JavaScript."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewContext, Site
from tests.factories import PASSWORD, Person
from tests.integration.pages.desk import NEW_PASSWORD


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """Through the form."""
    page.goto("/auth/login")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def open_mail(page: Page, subject: str, email: str) -> None:
    """Follow the link of the newest mail with this subject, as in the development mailbox."""
    page.goto("/dev/mail")
    page.get_by_role("link").filter(has_text=subject).filter(has_text=email).first.click()
    expect(page.get_by_role("heading", name=subject)).to_be_visible()
    page.locator("main a[href*='?token=']").first.click()


def test_from_signing_up_to_signing_out(page: Page, site: Site, request: pytest.FixtureRequest) -> None:
    email = f"dora{abs(hash(request.node.name)) % 10**6}@example.com"
    page.goto("/")
    page.get_by_role("link", name="Create an account").first.click()
    page.get_by_label("Name", exact=True).fill("Dora Quist")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Create the account").click()
    expect(page.get_by_role("heading", name="Check your mail")).to_be_visible()
    expect(page.get_by_text(email)).to_be_visible()

    sign_in(page, email)
    expect(page.get_by_text("Confirm your e-mail address first")).to_be_visible()

    open_mail(page, "Confirm your address", email)
    expect(page).to_have_url(f"{site.url}/auth/verify-email")
    page.get_by_role("button", name="Confirm the address").click()
    expect(page.get_by_text("Your address is confirmed.")).to_be_visible()

    sign_in(page, email)
    expect(page.get_by_role("heading", name="Hello, Dora Quist")).to_be_visible()

    page.goto("/account/password")
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_label("New password").fill(NEW_PASSWORD)
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_text("Your password is changed.")).to_be_visible()

    page.get_by_role("link", name="Devices").locator("visible=true").first.click()
    expect(page.get_by_text("This device")).to_be_visible()
    expect(page.get_by_text("You are signed in nowhere else.")).to_be_visible()

    page.goto("/auth/logout")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{site.url}/")
    assert [cookie["name"] for cookie in page.context.cookies()] == ["device"]  # which opens nothing
    page.goto("/dashboard")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_link_in_another_browser_asks_for_a_password(
    page: Page, new_context: NewContext, request: pytest.FixtureRequest
) -> None:
    email = f"xenia{abs(hash(request.node.name)) % 10**6}@example.com"
    stranger = new_context().new_page()
    stranger.goto("/auth/register")
    stranger.get_by_label("Name", exact=True).fill("Mallory Stranger")
    stranger.get_by_label("E-mail address").fill(email)
    stranger.get_by_label("Password", exact=True).fill(PASSWORD)
    stranger.get_by_role("button", name="Create the account").click()

    open_mail(page, "Confirm your address", email)
    expect(page.get_by_text("This is not the browser in which")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("Xenia Owner")
    page.get_by_label("Password", exact=True).fill("short")
    page.get_by_role("button", name="Confirm the address").click()
    expect(page).to_have_title(re.compile("^Error: "))
    page.get_by_label("Password", exact=True).fill(NEW_PASSWORD)
    page.get_by_role("button", name="Confirm the address").click()
    expect(page.get_by_text("Your address is confirmed.")).to_be_visible()

    sign_in(stranger, email)
    expect(stranger.get_by_text("The e-mail address or the password is wrong.")).to_be_visible()
    sign_in(page, email, NEW_PASSWORD)
    expect(page.get_by_role("heading", name="Hello, Xenia Owner")).to_be_visible()


def test_a_forgotten_password(page: Page, site: Site) -> None:
    person = site.person("Alice Lindqvist")
    page.goto("/auth/login")
    page.get_by_role("link", name="Forgot it?").click()
    page.get_by_label("E-mail address").fill(person.email)
    page.get_by_role("button", name="Send the link").click()
    expect(page.get_by_role("heading", name="Check your mail")).to_be_visible()
    open_mail(page, "password", person.email)
    expect(page).to_have_url(f"{site.url}/auth/reset-password")
    page.get_by_label("New password").fill("short")
    page.get_by_role("button", name="Save the new password").click()
    expect(page).to_have_title(re.compile("^Error: "))
    page.get_by_label("New password").fill(NEW_PASSWORD)
    page.get_by_role("button", name="Save the new password").click()
    expect(page.get_by_text("Your new password is saved.")).to_be_visible()
    sign_in(page, person.email, NEW_PASSWORD)
    expect(page.get_by_role("heading", name="Hello, Alice Lindqvist")).to_be_visible()


def test_another_device_is_signed_out(page: Page, site: Site, new_context: NewContext) -> None:
    person = site.person("Alice Lindqvist")
    other = new_context().new_page()
    for device in (page, other):
        sign_in(device, person.email)
        expect(device.get_by_role("heading", name="Hello, Alice Lindqvist")).to_be_visible()
    page.goto("/account/devices")
    page.get_by_role("button", name="Sign out Chrome on Linux").click()
    expect(page.get_by_text("The device is signed out.")).to_be_visible()
    other.reload()
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_menu_signs_out(page: Page, site: Site) -> None:
    person: Person = site.person("Alice Lindqvist")
    sign_in(page, person.email)
    page.get_by_role("button", name="Your account, Alice Lindqvist").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()


def test_one_comes_back_to_where_one_wanted_to_go(page: Page, site: Site) -> None:
    person = site.person("Alice Lindqvist")
    page.goto("/account/history")
    page.get_by_label("E-mail address").fill(person.email)
    page.get_by_label("Password", exact=True).fill(person.password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_url(f"{site.url}/account/history")
    expect(page.get_by_text("Signed in").first).to_be_visible()


def test_errors_take_the_focus_and_lead_to_their_field(page: Page) -> None:
    page.goto("/auth/register")
    page.get_by_label("E-mail address").fill("nobody")
    page.get_by_role("button", name="Create the account").click()
    summary = page.get_by_role("alert").first
    expect(summary).to_be_focused()
    summary.get_by_role("link").first.click()
    expect(page.get_by_label("Name", exact=True)).to_be_focused()


def test_every_form_can_be_filled_in_by_keyboard_alone(page: Page, site: Site) -> None:
    person = site.person("Alice Lindqvist")
    page.goto("/auth/login")
    expect(page.get_by_label("E-mail address")).to_be_focused()
    page.keyboard.type(person.email)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type(person.password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Hello, Alice Lindqvist")).to_be_visible()
