"""Roles of one's own, in Chromium: made, ticked, seen, changed, deleted once their holders are moved."""

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from models import db
from models.identity import ExternalIdentity
from services import issuer_service
from services.base_service import unit_of_work
from services.permissions import AUDIT_READ, USERS_READ
from tests.browser.conftest import WIDE, NewContext, Site
from tests.browser.test_account_flows import sign_in
from tests.browser.test_admin import NARROW, row, walk_to
from tests.factories import Person, make_role
from tests.issuer import CLIENT_ID, CLIENT_SECRET, running

LONG = "Donaudampfschifffahrtsgesellschaftskapitänswitwenrentenauszahlungsstellenleiterin von und zu Anderswo"
LONG_ROLE = "keepers_of_the_scrolls_of_alexandria_42x"
EMPTY_FILE = "an_empty_file.png"


@pytest.fixture
def ada(site: Site) -> Person:
    """Ada administers."""
    return site.person("Ada Okonkwo", role="admin")


@pytest.fixture
def desk(page: Page, ada: Person) -> Page:
    """Ada's browser, once with JavaScript and once without."""
    sign_in(page, ada.email)
    expect(page.get_by_role("heading", name="Hello, Ada Okonkwo")).to_be_visible()
    return page


def ticks(page: Page, role: str) -> list[bool]:
    """Whether a role has each permission, as the matrix on the page of roles shows it."""
    heads = [head.inner_text() for head in page.get_by_role("columnheader").all()]
    column = heads.index(role)
    rows = page.locator("table.matrix tbody tr").all()
    return [line.locator("th, td").nth(column).inner_text().strip() == "Yes" for line in rows]


def test_a_role_from_its_making_to_its_end(desk: Page, site: Site, request: pytest.FixtureRequest) -> None:
    name = f"librarian-{'js' if 'no' not in request.node.name else 'plain'}"
    desk.goto("/admin/roles")
    desk.get_by_role("link", name="New role").click()
    desk.get_by_label("Name", exact=True).fill("The Librarian")
    desk.get_by_label("See every account").check()
    desk.get_by_role("button", name="Make the role").click()
    expect(desk.get_by_role("alert")).to_contain_text("2 things need your attention")
    expect(desk.get_by_label("See every account")).to_be_checked()
    desk.get_by_label("Name", exact=True).fill(name)
    desk.get_by_label("Description").fill("Looks after the catalogue")
    desk.get_by_role("button", name="Make the role").click()
    expect(desk.get_by_role("status")).to_contain_text(f"The role {name} is made.")
    assert sum(ticks(desk, name)) == 1

    desk.get_by_role("link", name=f"Edit the role {name}").click()
    desk.get_by_label("Read the audit log").check()
    desk.get_by_role("button", name="Save").click()
    expect(desk.get_by_role("status")).to_contain_text(f"The role {name} is changed.")
    assert sum(ticks(desk, name)) == 2
    desk.get_by_role("link", name="Who may do what").click()
    expect(desk.get_by_role("columnheader", name=name)).to_be_visible()
    desk.get_by_role("link", name="Pages", exact=True).click()
    expect(row(desk, "GET /admin/audit").first).to_contain_text("audit:read")

    holder = site.person("Lia Librarian", role=name)
    desk.goto(f"/admin/roles/{name}/edit")
    expect(desk.get_by_text("1 person has this role.")).to_be_visible()
    desk.get_by_role("link", name="Delete").click()
    expect(desk.get_by_role("button", name="Delete this role")).to_have_count(0)
    desk.get_by_role("link", name="Show who").click()
    row(desk, holder.email).get_by_role("link", name=holder.name).click()
    desk.get_by_role("radio", name="member").check()
    desk.get_by_role("button", name="Change role").click()
    expect(desk.get_by_role("status")).to_contain_text("Lia Librarian has the role member now.")
    desk.goto(f"/admin/roles/{name}/delete")
    desk.get_by_role("button", name="Delete this role").click()
    expect(desk.get_by_role("status")).to_contain_text(f"The role {name} is deleted.")
    expect(desk.get_by_role("columnheader", name=name)).to_have_count(0)


def test_it_is_all_done_by_keyboard(new_context: NewContext, ada: Person) -> None:
    page = new_context().new_page()
    sign_in(page, ada.email)
    expect(page.get_by_role("heading", name="Hello")).to_be_visible()
    page.goto("/admin/roles")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # skip to the content
    walk_to(page, "New role")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type("typist")
    walk_to(page, "Description")
    page.keyboard.type("Never lifts the hands")
    walk_to(page, "Read the audit log")
    page.keyboard.press("Space")
    walk_to(page, "Make the role")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The role typist is made.")
    assert sum(ticks(page, "typist")) == 1
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    walk_to(page, "Edit the role typist")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Role typist")).to_be_visible()
    walk_to(page, "Delete")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Delete the role typist?")).to_be_visible()
    walk_to(page, "Delete this role")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The role typist is deleted.")


def test_a_wide_matrix_scrolls_in_its_box_and_keeps_its_rows_in_sight(
    site: Site, new_context: NewContext, ada: Person
) -> None:
    for number in range(6):
        make_role(site.app, f"wide-{number}", USERS_READ)
    page = new_context(viewport=NARROW).new_page()
    sign_in(page, ada.email)
    expect(page.get_by_role("heading", name="Hello")).to_be_visible()
    for path, name in (("/admin/roles", "Permissions"), ("/admin/roles/matrix", "Who may do what")):
        page.goto(path)
        box = page.get_by_role("region", name=name)
        box.focus()
        page.keyboard.press("End")
        box.evaluate("box => { box.scrollLeft = box.scrollWidth }")
        assert box.evaluate("box => box.scrollLeft") > 0
        first = box.locator("tbody th").first.bounding_box()
        assert first is not None
        assert 0 <= first["x"] < NARROW["width"]
        fits(page)


# ------------------------------------------------------------------------------------------------------------- looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_pages_hold_long_names_and_errors(
    site: Site,
    new_context: NewContext,
    ada: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    size: dict[str, int],
) -> None:
    make_role(site.app, LONG_ROLE, USERS_READ, AUDIT_READ)
    person = site.person(LONG, role=LONG_ROLE)
    page = new_context(color_scheme=scheme, viewport=size).new_page()
    sign_in(page, ada.email)
    expect(page.get_by_role("heading", name="Hello, Ada Okonkwo")).to_be_visible()
    for path in (
        "/admin/roles",
        "/admin/roles/matrix",
        "/admin/roles/matrix?show=pages",
        f"/admin/roles/{LONG_ROLE}/edit",
        f"/admin/roles/{LONG_ROLE}/delete",
        "/admin/roles/admin/edit",
        f"/admin/users/{person.id}",
        f"/admin/users/{person.id}/reset-factors",
    ):
        page.goto(path)
        check(page)
    page.goto("/admin/roles/new")
    page.get_by_label("Name", exact=True).fill("x" * 60)
    page.get_by_role("button", name="Make the role").click()
    check(page)
    page.goto(f"/admin/users/{person.id}/suspend")
    page.get_by_label("Reason").fill("Spam" * 60)
    page.get_by_label("Until").fill("2020-01-01")
    page.get_by_role("button", name="Suspend this account").click()
    expect(page.get_by_role("alert")).to_contain_text("This is in the past")
    check(page)
    page.goto("/account/profile")
    (tmp_path / EMPTY_FILE).write_bytes(b"no picture")
    page.locator("#picture").set_input_files(tmp_path / EMPTY_FILE)
    page.get_by_role("button", name="Save the picture").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose a PNG, JPEG or WebP")
    check(page)
    connected(site, page, ada, monkeypatch)


def connected(site: Site, page: Page, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of connected accounts, with one of each kind."""
    with running() as (issuer, _):
        settings: dict[str, Any] = {
            "OIDC_ISSUER": issuer.url,
            "OIDC_NAME": "your organisation",
            "CLIENT_ID": CLIENT_ID,
            "CLIENT_SECRET": CLIENT_SECRET,
        }
        for name, value in settings.items():
            monkeypatch.setitem(site.app.config, name, value)
        monkeypatch.setitem(site.app.extensions, "issuer", None)
        issuer_service.init_app(site.app)
        former = f"https://login.an-organisation-with-a-rather-long-name.example.org/{person.id}"
        with site.app.app_context(), unit_of_work():
            db.session.add(
                ExternalIdentity(user_id=person.id, issuer=former, subject="auth0|" + "5f7c8ec7" * 12)
            )
            db.session.add(
                ExternalIdentity(
                    user_id=person.id,
                    issuer=issuer.url,
                    subject=f"{person.id}",
                    email=f"{'a' * 60}@example.com",
                )
            )
        page.goto("/account/connected")
        expect(page.get_by_text(former)).to_be_visible()
        expect(page.get_by_text("Your organisation · connected")).to_be_visible()
        expect(page.get_by_text("not used yet")).to_have_count(2)
        check(page)


def check(page: Page) -> None:
    """No violation, nothing wider than the window."""
    found = Axe().run(page).response["violations"]
    assert not [(page.url, fault["id"], [node["target"] for node in fault["nodes"]]) for fault in found]
    fits(page)


def fits(page: Page) -> None:
    """Nothing is wider than the window."""
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, f"{page.url} is {wider} px too wide"
