"""Who may open which page of the administration, and use which of its buttons: walked from the URL map."""

import re
from collections.abc import Iterator
from typing import Any, cast
from uuid import uuid4

import pytest
from flask import Flask

from blueprints.http.access import Rule
from models import OutboxMail, db
from models import Role as RoleRow
from models.enums import MailStatus
from services.base_service import unit_of_work
from services.permissions import PERMISSIONS
from tests.clients import PageClient
from tests.factories import Person, make_person, make_role
from tests.integration.pages.admin.conftest import Browser
from tests.state import unchanged


def routes(app: Flask) -> Iterator[tuple[Rule, str, str]]:
    """Access rule, method and address pattern of everything below /admin."""
    for route in app.url_map.iter_rules():
        if route.endpoint.startswith("admin"):
            view: Any = app.view_functions[route.endpoint]
            for method in sorted((route.methods or set()) & {"GET", "POST"}):
                yield view.access, method, route.rule


def address(pattern: str, person: Person) -> str:
    """A real address: the account of `person`, a role, and a session and a mail that nobody has."""
    pattern = re.sub(r"<uuid:\w+>", str(uuid4()), pattern).replace("<id:user_id>", str(person.id))
    return pattern.replace("<string(maxlength=40):name>", "spare")


def with_only(app: Flask, *codes: str) -> Person:
    """Somebody whose role allows these permissions and no other."""
    name = f"only-{len(codes)}-{'-'.join(codes).replace(':', '_')}"[:40]
    with app.app_context(), unit_of_work():
        db.session.add(RoleRow(name=name, description="Few things", permissions=list(codes)))
    return make_person(app, "Otto", role=name)


def test_every_page_asks_for_a_permission(app: Flask) -> None:
    found = list(routes(app))
    assert len(found) >= 21
    assert [pattern for rule, _, pattern in found if rule.permission is None] == ["/admin"]
    assert all(rule.signed_in for rule, _, _ in found)


def test_strangers_are_led_to_the_door(app: Flask, bob: Person) -> None:
    for _, method, pattern in routes(app):
        with unchanged(app):
            client = cast("PageClient", app.test_client())
            token = client.token("/auth/login") if method == "POST" else ""
            response = client.open(address(pattern, bob), method=method, data={"csrf_token": token})
        assert response.status_code == 303, pattern
        assert response.location.startswith("/auth/login"), pattern


def test_programs_that_are_strangers_get_401(app: Flask, bob: Person) -> None:
    for _, method, pattern in routes(app):
        if method == "GET":
            response = app.test_client().get(address(pattern, bob), headers={"Accept": "application/json"})
            assert response.status_code == 401, pattern


@pytest.mark.parametrize("role", ["member", "editor"])
def test_members_are_refused_and_nothing_changes(
    app: Flask, browser: Browser, bob: Person, role: str
) -> None:
    client = browser(make_person(app, "Mia", role=role))
    token = client.token("/account/password")
    for _, method, pattern in routes(app):
        with unchanged(app):
            response = client.open(address(pattern, bob), method=method, data={"csrf_token": token})
        assert response.status_code == 403, pattern


def test_whoever_may_only_read_can_press_nothing(app: Flask, browser: Browser, bob: Person) -> None:
    readers = [code for code in PERMISSIONS if code.endswith(":read")]
    client = browser(with_only(app, *readers))
    token = client.token("/account/password")
    for _, method, pattern in routes(app):
        if method == "POST":
            with unchanged(app):
                response = client.post(address(pattern, bob), data={"csrf_token": token})
            assert response.status_code == 403, pattern


def test_whoever_may_only_read_sees_no_buttons(app: Flask, browser: Browser, bob: Person) -> None:
    readers = [code for code in PERMISSIONS if code.endswith(":read")]
    with app.app_context(), unit_of_work():
        failed = {"status": MailStatus.FAILED, "payload_encrypted": b"x", "message_id": "<1@x>"}
        db.session.add(OutboxMail(kind="verify_email", to_address=bob.email, subject="Hello", **failed))
    client = browser(with_only(app, *readers))
    for path in ("/admin/users", f"/admin/users/{bob.id}", "/admin/outbox", "/admin/roles", "/admin/audit"):
        page = client.get(path).get_data(as_text=True)
        for words in (
            "Invite a user",
            "Danger zone",
            "Change role",
            "Send a reset link",
            "Send again",
            "End all",
            "New role",
            ">Edit<",
        ):
            assert words not in page, (path, words)


# The page of the system asks the connection pool, which tests in a transaction have not got: test_system.py.
@pytest.mark.parametrize(
    "code", [code for code in PERMISSIONS if code.endswith(":read") and code != "system:read"]
)
def test_one_permission_opens_its_section_and_no_other(
    app: Flask, browser: Browser, bob: Person, code: str
) -> None:
    make_role(app, "spare")
    client = browser(with_only(app, code))
    start = client.get("/admin")
    assert start.status_code == 303
    page = client.get(start.location).get_data(as_text=True)
    for rule, method, pattern in routes(app):
        if method == "GET" and rule.permission:
            path = address(pattern, bob)
            assert client.get(path).status_code == (200 if rule.permission == code else 403), path
            if rule.permission != code:
                assert f'href="{path}"' not in page, path


def test_what_the_rules_promise_the_administrator_has(app: Flask, desk: PageClient, bob: Person) -> None:
    make_role(app, "spare")
    for _, method, pattern in routes(app):
        if method == "GET" and pattern != "/admin/system":
            assert desk.get(address(pattern, bob)).status_code in {200, 303}, pattern


@pytest.mark.parametrize("path", ["/admin//users", "/admin/users/", "/Admin/users", "/admin/users;x"])
def test_odd_spellings_are_no_way_around(app: Flask, browser: Browser, bob: Person, path: str) -> None:
    assert browser(bob).get(path).status_code == 404


def test_posts_want_the_forms_token_and_our_own_origin(app: Flask, desk: PageClient, bob: Person) -> None:
    path = f"/admin/users/{bob.id}/role"
    token = desk.token(f"/admin/users/{bob.id}")
    with unchanged(app):
        assert desk.post(path, data={"role": "admin"}).status_code == 403
        assert desk.post(path, data={"role": "admin", "csrf_token": "x"}).status_code == 403
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            sent = {"role": "admin", "csrf_token": token}
            assert desk.post(path, data=sent, headers=headers).status_code == 403
        assert desk.get(f"{path}?role=admin").status_code == 405


def test_pages_are_not_kept_by_anybody(desk: PageClient) -> None:
    for path in ("/admin/users", "/admin/users.csv", "/admin/audit.csv"):
        assert "no-store" in desk.get(path).headers["Cache-Control"]
