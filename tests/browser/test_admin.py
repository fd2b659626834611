"""What administrators do, in Chromium: with and without JavaScript, by keyboard, light and dark, wide and narrow."""

import csv
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from sqlalchemy import func, select

from models import OutboxMail, User, db
from models.enums import MailStatus
from services.base_service import unit_of_work
from tests.browser.conftest import WIDE, NewContext, Site
from tests.browser.test_account_flows import sign_in
from tests.factories import PASSWORD, Person

NARROW = {"width": 390, "height": 844}
LONG_NAMES = (
    "Wolfeschlegelsteinhausenbergerdorff " * 3,
    "Donaudampfschifffahrtsgesellschaftskapitänswitwenrentenauszahlungsstellenleiterin",
    "Nguyễn Thị Minh Khai",
    "محمد بن عبد الله " * 4,
    'O’Brien & <b>Sons</b> "Ltd"',
    '=HYPERLINK("http://example.com")',
)


@pytest.fixture
def ada(site: Site) -> Person:
    """Ada administers."""
    return site.person("Ada Okonkwo", role="admin")


@pytest.fixture
def bob(site: Site) -> Person:
    """Bob is looked after."""
    return site.person("Bob Castellanos")


@pytest.fixture
def desk(page: Page, ada: Person) -> Page:
    """Ada's browser, once with JavaScript and once without."""
    sign_in(page, ada.email)
    expect(page.get_by_role("heading", name="Hello, Ada Okonkwo")).to_be_visible()
    return page


@pytest.fixture(scope="module")
def crowd(site: Site) -> None:
    """Sixty people, some with names that fill a screen, one of each state, and mails of each."""
    with site.app.app_context(), unit_of_work():
        for number in range(60):
            name = LONG_NAMES[number // 4 % len(LONG_NAMES)] if number % 4 == 0 else f"Crowd {number:02}"
            suspended = {"is_active": False, "suspended_at": func.now(), "suspension_reason": "Sent spam."}
            db.session.add(
                User(
                    name=name.strip(),
                    email=f"crowd{number}.{'very-long-' * (number % 5)}address@example.com",
                    role=("member", "editor")[number % 2],
                    email_verified=number % 3 > 0,
                    **(suspended if number % 7 == 1 else {}),
                )
            )
        for number, status in enumerate((MailStatus.QUEUED, MailStatus.FAILED) * 5):
            mail_id = uuid4()
            db.session.add(
                OutboxMail(
                    id=mail_id,
                    kind="verify_email",
                    to_address=f"crowd{number}.{'very-long-' * number}address@example.com",
                    subject=f"Mail {number} in the crowd",
                    payload_encrypted=b"x",
                    message_id=f"<{mail_id}@x>",
                    status=status,
                    attempts=48 if status == MailStatus.FAILED else 0,
                    last_error=f"550 {'no-such-user-' * 12}" if status == MailStatus.FAILED else None,
                )
            )


def row(page: Page, words: str) -> Any:
    """The row of a table that holds these words."""
    return page.get_by_role("row").filter(has_text=words)


# ------------------------------------------------------------------------------------------------------------ people


@pytest.mark.usefixtures("crowd")
def test_finding_somebody(desk: Page) -> None:
    desk.get_by_role("link", name="Administration").click()
    expect(desk.get_by_role("heading", name="Users")).to_be_visible()
    desk.get_by_label("Search").fill("crowd")
    desk.get_by_label("Role").select_option("editor")
    desk.get_by_role("button", name="Apply").click()
    expect(desk.get_by_text("1–20 of 30 users")).to_be_visible()
    desk.get_by_role("link", name="Next page").click()
    expect(desk.get_by_text("21–30 of 30 users")).to_be_visible()
    expect(desk.get_by_label("Search")).to_have_value("crowd")
    expect(desk.get_by_label("Role")).to_have_value("editor")
    desk.get_by_role("link", name="Name", exact=True).click()
    expect(desk.get_by_text("1–20 of 30 users")).to_be_visible()
    expect(desk.get_by_role("columnheader", name="Name")).to_have_attribute("aria-sort", "ascending")
    desk.get_by_role("link", name="Name", exact=True).click()
    expect(desk.get_by_role("columnheader", name="Name")).to_have_attribute("aria-sort", "descending")
    desk.get_by_label("Status").select_option("suspended")
    desk.get_by_role("button", name="Apply").click()
    expect(desk.get_by_role("columnheader", name="Name")).to_have_attribute("aria-sort", "descending")
    assert (
        desk.get_by_role("row").count()
        == 1 + desk.get_by_text("Suspended", exact=True).locator("xpath=ancestor::tr").count()
    )


@pytest.mark.usefixtures("crowd")
def test_taking_the_filter_away_as_csv(desk: Page, tmp_path: Path) -> None:
    desk.goto("/admin/users?q=HYPERLINK")
    with desk.expect_download() as started:
        desk.get_by_role("link", name="Export CSV").click()
    download = started.value
    assert re.fullmatch(r"users-\d{4}-\d\d-\d\d\.csv", download.suggested_filename)
    download.save_as(tmp_path / "users.csv")
    with (tmp_path / "users.csv").open(encoding="utf-8", newline="") as file:
        names = [line["name"] for line in csv.DictReader(file)]
    assert names
    assert set(names) == {'\'=HYPERLINK("http://example.com")'}


def test_inviting_somebody(desk: Page) -> None:
    email = f"dora-{uuid4().hex[:8]}@example.com"
    desk.goto("/admin/users")
    desk.get_by_role("link", name="Invite a user").click()
    desk.get_by_role("button", name="Send the invitation").click()
    expect(desk).to_have_title(re.compile("^Error: Invite a user"))
    alert = desk.get_by_role("alert")
    expect(alert).to_be_focused()
    expect(alert.get_by_role("link")).to_have_text(["E-mail address: This is needed", "Name: This is needed"])
    desk.get_by_role("link", name="Name: This is needed").click()
    expect(desk.get_by_label("Name")).to_be_focused()
    desk.get_by_label("Name").fill("Dora Quist")
    desk.get_by_label("E-mail address").fill(email)
    desk.get_by_label("editor").check()
    desk.get_by_role("button", name="Send the invitation").click()
    expect(desk.get_by_role("status")).to_contain_text(f"An invitation is on its way to {email}.")
    expect(desk.get_by_role("heading", name="Dora Quist")).to_be_visible()
    expect(desk.get_by_text("Unverified")).to_be_visible()


def test_giving_another_role(desk: Page, bob: Person) -> None:
    desk.goto(f"/admin/users/{bob.id}")
    desk.get_by_label("editor").check()
    desk.get_by_role("button", name="Change role").click()
    expect(desk.get_by_role("status")).to_contain_text("Bob Castellanos has the role editor now.")
    expect(desk.get_by_label("editor")).to_be_checked()
    expect(desk.get_by_text("Role changed")).to_be_visible()


def test_suspending_and_reinstating(desk: Page, new_context: NewContext, bob: Person) -> None:
    his = new_context().new_page()
    sign_in(his, bob.email)
    expect(his.get_by_role("heading", name="Hello, Bob Castellanos")).to_be_visible()
    desk.goto(f"/admin/users/{bob.id}")
    desk.get_by_role("link", name="Suspend").click()
    expect(desk.get_by_role("heading", name="Suspend Bob Castellanos?")).to_be_visible()
    desk.get_by_role("link", name="Leave it active").click()
    desk.get_by_role("link", name="Suspend").click()
    desk.get_by_label("Reason").fill("Sent spam.")
    desk.get_by_role("button", name="Suspend this account").click()
    expect(desk.get_by_role("status")).to_contain_text("Bob Castellanos is suspended")
    expect(desk.get_by_text("Sent spam.")).to_be_visible()
    expect(desk.get_by_text("Signed in nowhere.")).to_be_visible()
    his.goto("/dashboard")
    expect(his.get_by_role("heading", name="Sign in")).to_be_visible()
    desk.get_by_role("button", name="Reinstate").click()
    expect(desk.get_by_role("status")).to_contain_text("The account is reinstated.")
    sign_in(his, bob.email)
    expect(his.get_by_role("heading", name="Hello, Bob Castellanos")).to_be_visible()


def test_signing_devices_out(desk: Page, new_context: NewContext, bob: Person) -> None:
    his = [new_context().new_page() for _ in range(3)]
    for page in his:
        sign_in(page, bob.email)
        expect(page.get_by_role("heading", name="Hello, Bob Castellanos")).to_be_visible()
    desk.goto(f"/admin/users/{bob.id}")
    ends = desk.get_by_role("button", name=re.compile("^End Chrome"))
    expect(ends).to_have_count(3)
    ends.first.click()
    expect(desk.get_by_role("status")).to_contain_text("The device is signed out.")
    expect(ends).to_have_count(2)
    desk.get_by_role("button", name="End all sessions of Bob Castellanos").click()
    expect(desk.get_by_role("status")).to_contain_text("Signed out everywhere.")
    for page in his:
        page.goto("/dashboard")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_sending_a_reset_link(desk: Page, bob: Person) -> None:
    desk.goto(f"/admin/users/{bob.id}")
    desk.get_by_role("button", name="Send a reset link").click()
    expect(desk.get_by_role("status")).to_contain_text("The link is on its way")
    expect(desk.get_by_text("Password reset asked for")).to_be_visible()
    assert "token=" not in desk.content()


def test_deleting_somebody(desk: Page, site: Site, bob: Person) -> None:
    desk.goto(f"/admin/users/{bob.id}")
    desk.get_by_role("link", name="Delete").click()
    expect(desk.get_by_role("heading", name="Delete Bob Castellanos?")).to_be_visible()
    desk.get_by_label("Reason").fill("Asked for it.")
    desk.get_by_label("Your own password").fill("not my password")
    desk.get_by_role("button", name="Delete this account").click()
    expect(desk.get_by_role("alert")).to_contain_text("This is not your password.")
    expect(desk.get_by_label("Reason")).to_have_value("Asked for it.")
    expect(desk.get_by_label("Your own password")).to_have_value("")
    desk.get_by_label("Your own password").fill(PASSWORD)
    desk.get_by_role("button", name="Delete this account").click()
    expect(desk.get_by_role("status")).to_contain_text("The account of Bob Castellanos is deleted.")
    with site.app.app_context():
        assert db.session.get(User, bob.id) is None
    desk.goto(f"/admin/users/{bob.id}/delete")
    expect(desk.get_by_role("heading", name="There is no door here")).to_be_visible()


# -------------------------------------------------------------------------------------------------- the other pages


def test_reading_the_audit_log(desk: Page, ada: Person, bob: Person) -> None:
    desk.goto(f"/admin/users/{bob.id}")
    desk.get_by_label("editor").check()
    desk.get_by_role("button", name="Change role").click()
    desk.get_by_role("link", name="All events").click()
    expect(desk.get_by_label("To whom (id)")).to_have_value(str(bob.id))
    expect(desk.get_by_role("row")).to_have_count(2)
    desk.get_by_text("Before and after").click()
    expect(desk.get_by_text("- role: member")).to_be_visible()
    expect(desk.get_by_text("+ role: editor")).to_be_visible()
    desk.get_by_label("From", exact=True).fill("2030-01-01")
    desk.get_by_role("button", name="Apply").click()
    expect(desk.get_by_role("heading", name="Nothing found")).to_be_visible()
    desk.get_by_role("link", name="Show all events").click()
    expect(row(desk, "Signed in").first).to_be_visible()
    desk.goto("/admin/audit?actor=me")
    expect(desk.get_by_role("alert")).to_contain_text("Who (id): Must be a whole number.")
    desk.get_by_role("link", name="Who (id)").click()
    expect(desk.get_by_label("Who (id)")).to_be_focused()


@pytest.mark.usefixtures("crowd")
def test_sending_a_mail_again(desk: Page, site: Site) -> None:
    desk.goto("/admin")
    desk.get_by_role("link", name="Mail outbox").click()
    desk.get_by_role("link", name="Failed").click()
    first = desk.get_by_role("button", name=re.compile("^Send again")).first
    expect(first).to_be_visible()
    desk.get_by_text("What the mail server said").first.click()
    expect(desk.get_by_text("550 no-such-user").first).to_be_visible()
    first.click()
    expect(desk.get_by_role("status")).to_contain_text("The mail is queued again.")
    with site.app.app_context():
        failed = select(func.count()).select_from(OutboxMail).where(OutboxMail.status == MailStatus.FAILED)
        assert (db.session.scalar(failed) or 0) < 5


def test_roles_lead_to_the_people_who_hold_them(desk: Page, ada: Person) -> None:
    desk.goto("/admin")
    desk.get_by_role("link", name="Roles").click()
    expect(desk.get_by_role("rowheader", name="users:write")).to_be_visible()
    desk.get_by_role("link", name="with the role admin").click()
    expect(desk.get_by_label("Role")).to_have_value("admin")
    expect(row(desk, ada.email)).to_be_visible()


def test_looking_at_the_system(desk: Page) -> None:
    desk.goto("/admin")
    desk.get_by_role("link", name="System").click()
    for part in ("Database", "Migrations", "Outbox", "Pool", "Disk"):
        expect(desk.get_by_role("rowheader", name=part)).to_be_visible()
    desk.get_by_role("link", name="Check again").click()
    expect(row(desk, "Migrations")).to_contain_text("Pass")


# ---------------------------------------------------------------------------------------------------------- keyboard


def test_everything_is_reached_by_keyboard(new_context: NewContext, ada: Person, bob: Person) -> None:
    page = new_context().new_page()
    sign_in(page, ada.email)
    expect(page.get_by_role("heading", name="Hello")).to_be_visible()
    page.goto("/admin/users")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # skip to the content
    walk_to(page, "Search")
    page.keyboard.type(bob.email)
    page.keyboard.press("Enter")
    expect(page.get_by_text("1–1 of 1 users")).to_be_visible()
    walk_to(page, bob.name)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=bob.name)).to_be_visible()
    walk_to(page, "Suspend")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"Suspend {bob.name}?")).to_be_visible()
    walk_to(page, "Reason")
    page.keyboard.type("Sent spam.")
    walk_to(page, "Suspend this account")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("is suspended")


def walk_to(page: Page, name: str) -> None:
    """Tab on until what has this name has the focus, which must be seen."""
    focused = """() => {
        const here = document.activeElement, label = here.labels?.[0] ?? here
        const style = getComputedStyle(here)
        return [label.textContent.trim(), style.outlineStyle !== "none" || style.boxShadow !== "none"]
    }"""
    for _ in range(80):
        page.keyboard.press("Tab")
        text, is_seen = page.evaluate(focused)
        assert is_seen or not text, f"the focus on {text} is not seen"
        if text == name:
            return
    raise AssertionError(f"no way to {name}")


# ------------------------------------------------------------------------------------------------------------ looks


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_page_fits_and_pleases_axe(
    site: Site, new_context: NewContext, ada: Person, scheme: str, size: dict[str, int]
) -> None:
    page = new_context(color_scheme=scheme, viewport=size).new_page()
    sign_in(page, ada.email)
    expect(page.get_by_role("heading", name="Hello")).to_be_visible()
    with site.app.app_context():
        longest = db.session.scalars(select(User.id).order_by(func.length(User.name).desc())).first()
        suspended = db.session.scalars(select(User.id).where(~User.is_active)).first()
    for path in (
        "/admin/users",
        "/admin/users?q=nobody-of-this-name",
        "/admin/users?role=king&status=dead",
        "/admin/users/new",
        f"/admin/users/{ada.id}",
        f"/admin/users/{longest}",
        f"/admin/users/{suspended}",
        f"/admin/users/{longest}/suspend",
        f"/admin/users/{longest}/delete",
        "/admin/roles",
        "/admin/audit",
        "/admin/audit?actor=x&to=y",
        "/admin/outbox",
        "/admin/outbox?status=eaten",
        "/admin/system",
    ):
        page.goto(path)
        for summary in page.locator("summary").all()[:3]:
            summary.click()
        found = Axe().run(page).response["violations"]
        assert not [(path, fault["id"], [node["target"] for node in fault["nodes"]]) for fault in found]
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{path} is {wider} px too wide"
