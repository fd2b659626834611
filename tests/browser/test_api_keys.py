"""An API key from its making to its end, with and without JavaScript."""

import json
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.test_account_flows import sign_in


def status_of(site: Site, path: str, key: str) -> int:
    """What the API answers a program with this key."""
    call = Request(f"{site.url}/api/v1{path}", headers={"Authorization": f"Bearer {key}"})
    try:
        with urlopen(call, timeout=10) as answer:
            json.load(answer)
            return int(answer.status)
    except HTTPError as error:
        return error.code


def test_a_key_from_its_making_to_its_end(page: Page, site: Site) -> None:
    ada = site.person("Ada Okonkwo", role="admin")
    sign_in(page, ada.email)
    page.goto("/account/api-keys")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_role("alert").or_(page.get_by_text("needs your attention")).first).to_be_visible()

    page.get_by_label("Name").fill("Nightly backup")
    page.get_by_label("See every account, its sessions and its history").check()
    page.get_by_role("button", name="Make the key").click()
    key = page.locator("code.secret").inner_text()
    assert status_of(site, "/users", key) == 200
    assert status_of(site, "/audit-events", key) == 403

    page.goto("/account/api-keys")
    expect(page.locator("code.secret")).to_have_count(0)
    page.get_by_role("button", name="Revoke Nightly backup").click()
    expect(page.get_by_text("The key no longer works.")).to_be_visible()
    assert status_of(site, "/users/me", key) == 401
