"""An administrator sees what somebody else sees, in Chromium: the banner, the way back, and what stays closed."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import WIDE, NewContext, Site
from tests.browser.test_account_flows import sign_in
from tests.browser.test_admin import NARROW, walk_to
from tests.factories import Person

LONG = "Donaudampfschifffahrtsgesellschaftskapitänswitwenrentenauszahlungsstellenleiterin von und zu Anderswo"
REASON = "She wrote that her picture does not show, and asked us to look."


@pytest.fixture
def ada(site: Site) -> Person:
    """Ada administers."""
    return site.person("Ada Okonkwo", role="admin")


@pytest.fixture
def bob(site: Site) -> Person:
    """Bob is helped."""
    return site.person("Bob Castellanos")


def sign_in_as(page: Page, administrator: Person, person: Person) -> None:
    """To the person's dashboard."""
    sign_in(page, administrator.email)
    expect(page.get_by_role("heading", name=f"Hello, {administrator.name}")).to_be_visible()
    page.goto(f"/admin/users/{person.id}")
    page.get_by_role("link", name="Sign in as this person").click()
    page.get_by_label("Reason").fill(REASON)
    page.get_by_role("button", name="Sign in as this person").click()
    expect(page.get_by_role("heading", name=f"Hello, {person.name}")).to_be_visible()


def test_there_and_back(page: Page, new_context: NewContext, site: Site, ada: Person, bob: Person) -> None:
    sign_in(page, ada.email)
    expect(page.get_by_role("heading", name="Hello, Ada Okonkwo")).to_be_visible()
    page.goto(f"/admin/users/{bob.id}")
    page.get_by_role("link", name="Sign in as this person").click()
    page.get_by_role("button", name="Sign in as this person").click()
    expect(page.get_by_role("alert")).to_contain_text("Reason")
    page.get_by_label("Reason").fill(REASON)
    page.get_by_role("button", name="Sign in as this person").click()
    expect(page.get_by_role("heading", name="Hello, Bob Castellanos")).to_be_visible()

    above = page.get_by_role("complementary", name="Signed in as somebody else")
    expect(above).to_contain_text("You are signed in as Bob Castellanos")
    page.goto("/account/password")
    expect(page.get_by_role("heading", name="Only the person may do this")).to_be_visible()
    expect(above).to_be_visible()
    page.goto("/account/history")
    page.mouse.wheel(0, 5_000)
    expect(above).to_be_in_viewport()

    persons = new_context().new_page()
    sign_in(persons, bob.email)
    expect(persons.get_by_role("heading", name="Hello, Bob Castellanos")).to_be_visible()
    persons.goto("/account/devices")
    expect(persons.get_by_text("An administrator, signed in as you").first).to_be_visible()
    persons.goto("/account/history")
    expect(persons.get_by_text(f"An administrator signed in as you: {REASON}")).to_be_visible()

    above.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status")).to_contain_text("You are signed in as yourself again.")
    expect(above).to_have_count(0)
    page.goto("/dashboard")
    expect(page.get_by_role("heading", name="Hello, Ada Okonkwo")).to_be_visible()


def test_the_person_ends_it(new_context: NewContext, ada: Person, bob: Person) -> None:
    desk, persons = new_context().new_page(), new_context().new_page()
    sign_in_as(desk, ada, bob)
    sign_in(persons, bob.email)
    expect(persons.get_by_role("heading", name="Hello, Bob Castellanos")).to_be_visible()
    persons.goto("/account/devices")
    persons.get_by_role("button", name="Sign out An administrator, signed in as you").click()
    expect(persons.get_by_role("status")).to_contain_text("The device is signed out.")
    desk.goto("/account/profile")
    expect(desk.get_by_text("You are no longer signed in as somebody else.")).to_be_visible()
    expect(desk.get_by_label("E-mail address")).to_be_visible()


def test_the_way_back_is_reached_by_keyboard(new_context: NewContext, ada: Person, bob: Person) -> None:
    page = new_context().new_page()
    sign_in_as(page, ada, bob)
    page.goto("/dashboard")
    walk_to(page, "Stop being signed in as somebody else")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("You are signed in as yourself again.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_banner_fits_and_pleases_axe(
    site: Site, new_context: NewContext, ada: Person, scheme: str, size: dict[str, int]
) -> None:
    page = new_context(color_scheme=scheme, viewport=size).new_page()
    person = site.person(LONG)
    sign_in(page, ada.email)
    expect(page.get_by_role("heading", name="Hello, Ada Okonkwo")).to_be_visible()
    page.goto(f"/admin/users/{person.id}/impersonate")
    page.get_by_role("button", name="Sign in as this person").click()
    check(page)
    page.get_by_label("Reason").fill(REASON)
    page.get_by_role("button", name="Sign in as this person").click()
    expect(page.get_by_role("heading", name="Hello, Donau")).to_be_visible()
    for path in (
        "/dashboard",
        "/account/profile",
        "/account/history",
        "/account/password",
        "/not-there",
        "/",
    ):
        page.goto(path)
        check(page)


def check(page: Page) -> None:
    """No violation, nothing wider than the window."""
    found = Axe().run(page).response["violations"]
    assert not [(page.url, fault["id"], [node["target"] for node in fault["nodes"]]) for fault in found]
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, f"{page.url} is {wider} px too wide"
