"""Every page within reach, looked over by axe: as a stranger and as a member, light and dark, wide and narrow."""

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import NewContext, Site
from tests.browser.test_account_flows import sign_in
from tests.factories import Person
from tests.integration.pages.desk import make_link, setup_token

NARROW = {"width": 390, "height": 844}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"color_scheme": "light", "viewport": NARROW},
    "narrow dark": {"color_scheme": "dark", "viewport": NARROW},
}
STRANGERS = [
    "/",
    "/auth/login",
    "/auth/register",
    "/auth/logout",
    "/auth/verify-email",
    "/auth/verify-email/request",
    "/auth/forgot-password",
    "/auth/reset-password",
    "/auth/invitation",
    "/auth/confirm-email",
    "/auth/not-me",
    "/auth/setup",
    "/dev/mail",
    "/nowhere",
]
MEMBERS = [
    "/",
    "/dashboard",
    "/account/profile",
    "/account/email",
    "/account/password",
    "/account/devices",
    "/account/history",
    "/account/export",
    "/account/delete",
    "/admin/users",
]
each_look = pytest.mark.parametrize("look", LOOKS)


def check(page: Page) -> None:
    """No violation, nothing wider than the window."""
    found = Axe().run(page).response["violations"]
    told = [
        f"{page.url}: {violation['id']} at {[node['target'] for node in violation['nodes']]}"
        for violation in found
    ]
    assert not told
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, f"{page.url} is {overflow} px too wide"


@pytest.fixture
def alice(site: Site) -> Person:
    """Alice owns."""
    return site.person("Alice Lindqvist")


@each_look
def test_what_strangers_see(site: Site, new_context: NewContext, look: str) -> None:
    page = new_context(**LOOKS[look]).new_page()
    for path in STRANGERS:
        page.goto(path)
        check(page)


@each_look
def test_what_members_see(site: Site, new_context: NewContext, alice: Person, look: str) -> None:
    new_context().new_page().goto("/auth/login")
    page = new_context(**LOOKS[look]).new_page()
    sign_in(page, alice.email, "wrong")
    check(page)
    sign_in(new_context().new_page(), alice.email)
    sign_in(page, alice.email)
    for path in MEMBERS:
        page.goto(path)
        check(page)


@each_look
def test_pages_behind_a_link(site: Site, new_context: NewContext, alice: Person, look: str) -> None:
    page = new_context(**LOOKS[look]).new_page()
    dora = site.person("Dora Quist", email_verified=False)
    sign_in(page, alice.email)  # a change of address is confirmed in a session of the account
    tokens = {
        "verify-email": make_link(site.app, dora, "verification"),
        "reset-password": make_link(site.app, alice, "reset"),
        "confirm-email": make_link(site.app, alice, "email_change", "new@example.com"),
        "invitation": make_link(site.app, alice, "invitation"),
        "not-me": make_link(site.app, alice, "not_me", alice.email),
    }
    for path, token in tokens.items():
        page.goto(f"/auth/{path}?token={token}")
        assert page.url == f"{site.url}/auth/{path}"
        check(page)
    page.get_by_role("button", name="This was not me").click()
    assert page.url == f"{site.url}/auth/not-me/done"
    check(page)


@each_look
def test_the_first_page_of_all(new_site: Site, new_context: NewContext, look: str) -> None:
    page = new_context(**LOOKS[look], base_url=new_site.url).new_page()
    page.goto(f"/auth/setup?token={setup_token(new_site.app)}")
    assert page.url == f"{new_site.url}/auth/setup"
    check(page)


@each_look
def test_forms_with_errors_and_what_follows_them(
    site: Site, new_context: NewContext, alice: Person, look: str
) -> None:
    page = new_context(**LOOKS[look]).new_page()
    for path in ("register", "login", "forgot-password", "verify-email", "verify-email/request"):
        page.goto(f"/auth/{path}")
        page.locator("main form").first.get_by_role("button").last.click()
        assert re.match("Error: ", page.title())
        check(page)
    for path in ("forgot-password", "verify-email/request"):
        page.goto(f"/auth/{path}")
        page.get_by_label("E-mail address").fill(alice.email)
        page.locator("main form").first.get_by_role("button").last.click()
        check(page)
    page.goto("/dev/mail")
    page.locator("main ul a").first.click()
    check(page)
