""" "This was not me", in Chromium, with and without JavaScript: from the mail to a new password."""

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import NewContext, Site
from tests.browser.test_account_flows import open_mail, sign_in
from tests.factories import PASSWORD
from tests.integration.pages.desk import NEW_PASSWORD

OF_HIS_OWN = "granite whistle seventy four"


def test_somebody_else_changed_the_password(page: Page, site: Site, new_context: NewContext) -> None:
    person = site.person("Alice Lindqvist")
    thief = new_context().new_page()
    sign_in(thief, person.email)
    thief.goto("/account/password")
    thief.get_by_label("Current password").fill(PASSWORD)
    thief.get_by_label("New password").fill(NEW_PASSWORD)
    thief.get_by_role("button", name="Change the password").click()
    expect(thief.get_by_text("Your password is changed.")).to_be_visible()

    open_mail(page, "Your password was changed", person.email)
    expect(page).to_have_url(f"{site.url}/auth/not-me")
    expect(page.get_by_role("heading", name="This was not you?")).to_be_visible()
    expect(page.get_by_text(person.email)).to_have_count(0)
    thief.reload()
    expect(thief).to_have_url(f"{site.url}/account/password")
    page.get_by_role("button", name="This was not me").click()
    expect(page.get_by_role("heading", name="Your account is shut")).to_be_visible()

    thief.reload()
    expect(thief.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(thief, person.email, NEW_PASSWORD)
    expect(thief.get_by_text("The e-mail address or the password is wrong.").first).to_be_visible()

    open_mail(page, "Choose a new password", person.email)
    expect(page).to_have_url(f"{site.url}/auth/reset-password")
    page.get_by_label("New password").fill(OF_HIS_OWN)
    page.get_by_role("button", name="Save the new password").click()
    expect(page.get_by_text("Your new password is saved.")).to_be_visible()
    sign_in(page, person.email, OF_HIS_OWN)
    expect(page.get_by_role("heading", name="Hello, Alice Lindqvist")).to_be_visible()
    page.goto("/account/history")
    expect(page.get_by_text(re.compile("This was not me"))).to_be_visible()


def test_the_link_pressed_twice(page: Page, site: Site, new_context: NewContext) -> None:
    person = site.person("Alice Lindqvist")
    for context in (new_context(), new_context()):
        sign_in(context.new_page(), person.email)
    open_mail(page, "New sign-in to your account", person.email)
    again = page.context.new_page()
    open_mail(again, "New sign-in to your account", person.email)
    page.get_by_role("button", name="This was not me").click()
    expect(page.get_by_role("heading", name="Your account is shut")).to_be_visible()
    again.get_by_role("button", name="This was not me").click()
    expect(again.get_by_text("Pressed it already?")).to_be_visible()
    again.get_by_role("link", name="Set a new password").click()
    expect(again).to_have_url(f"{site.url}/auth/forgot-password")
