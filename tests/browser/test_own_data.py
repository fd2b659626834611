"""Taking one's data along, and leaving, in Chromium, with and without JavaScript."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from services import export_service
from tests.browser.conftest import Site
from tests.browser.test_account_flows import open_mail, sign_in
from tests.factories import PASSWORD, Person
from tests.integration.own_data.pictures import picture


@pytest.fixture
def alice(site: Site) -> Person:
    """Alice owns."""
    return site.person("Alice Lindqvist")


def test_a_copy_to_take_along(page: Page, site: Site, alice: Person) -> None:
    sign_in(page, alice.email)
    page.goto("/account/export")
    page.get_by_role("button", name="Ask for a copy").click()
    expect(page.get_by_text("A mail tells you when it is ready.").first).to_be_visible()
    with site.app.app_context():
        assert export_service.make_due() == 1
    page.reload()
    with page.expect_download() as fetched:
        page.get_by_role("link", name="Download your copy").click()
    copy = json.loads(Path(fetched.value.path()).read_text(encoding="utf-8"))
    assert copy["account"]["email"] == alice.email
    assert fetched.value.suggested_filename.startswith("export-")

    page.get_by_role("button", name="Your account").click()
    page.get_by_role("button", name="Sign out").click()
    open_mail(page, "Your data is ready", alice.email)
    with page.expect_download() as fetched:
        page.get_by_role("button", name="Download").click()
    assert json.loads(Path(fetched.value.path()).read_text(encoding="utf-8")) == copy


def test_leaving_and_coming_back(page: Page, alice: Person) -> None:
    sign_in(page, alice.email)
    page.goto("/account/delete")
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Delete my account").click()
    expect(page.get_by_role("heading", name="Your account is going", exact=True)).to_be_visible()
    page.get_by_role("button", name="Keep my account").click()
    expect(page.get_by_text("Your account stays. Nothing was deleted.")).to_be_visible()

    page.goto("/account/delete")
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Delete my account").click()
    page.get_by_role("button", name="Your account").click()
    page.get_by_role("button", name="Sign out").click()
    open_mail(page, "Your account will be deleted", alice.email)
    page.get_by_role("button", name="Keep my account").click()
    expect(page.get_by_text("Your account stays. Nothing was deleted.")).to_be_visible()
    sign_in(page, alice.email)
    expect(page.get_by_text("going to be deleted")).to_have_count(0)


def test_a_picture_of_oneself(page: Page, alice: Person, tmp_path: Path) -> None:
    file = tmp_path / "me.png"
    file.write_bytes(picture(colour=(40, 90, 160)))
    sign_in(page, alice.email)
    page.goto("/account/profile")
    page.get_by_label("Picture (optional)").set_input_files(file)
    page.get_by_role("button", name="Save the picture").click()
    expect(page.get_by_text("Your picture is saved.")).to_be_visible()
    shown = page.locator("main img.avatar")
    expect(shown).to_have_js_property("naturalWidth", 256)
    expect(page.locator("header img.avatar").first).to_have_js_property("naturalWidth", 64)
    page.get_by_role("button", name="Remove the picture").click()
    expect(page.get_by_text("Your picture is removed.")).to_be_visible()
    expect(page.locator("img.avatar")).to_have_count(0)
