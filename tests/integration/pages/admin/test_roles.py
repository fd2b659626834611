"""Roles on their page."""

import re

from flask import Flask

from models import Role, db
from services.base_service import unit_of_work
from services.permissions import AUDIT_READ, PERMISSIONS, ROLES_READ
from tests.clients import PageClient
from tests.conftest import counted
from tests.factories import Person, make_person
from tests.integration.pages.admin.conftest import Browser


def test_roles_are_shown_with_their_holders_in_four_statements(
    app: Flask, desk: PageClient, alice: Person, bob: Person
) -> None:
    make_person(app, "Eve", role="editor", password_hash="x")
    with app.app_context(), unit_of_work():
        db.session.add(Role(name="auditor", description="Looks on", permissions=[AUDIT_READ]))
    with counted() as statements:
        page = desk.get("/admin/roles").text
    assert len(statements) <= 4
    told = re.findall(r'href="/admin/users\?role=(\w+)">(\d+) (person|people)', page)
    assert sorted(told) == [
        ("admin", "1", "person"),
        ("auditor", "0", "people"),
        ("editor", "1", "person"),
        ("member", "2", "people"),
    ]


def test_the_matrix_tells_who_may_do_what(app: Flask, desk: PageClient) -> None:
    with app.app_context(), unit_of_work():
        db.session.add(Role(name="auditor", description="Looks on", permissions=[AUDIT_READ]))
    matrix = desk.get("/admin/roles").text.split('<table class="matrix">')[1]
    rows = dict(re.findall(r"<code>([a-z:]+)</code>(.*?)</tr>", matrix, re.DOTALL))
    assert rows.keys() == PERMISSIONS.keys()
    marks = {code: re.findall(r'visually-hidden">(Yes|No)<', row) for code, row in rows.items()}
    assert marks[AUDIT_READ] == ["Yes", "Yes", "No", "No"]
    assert marks[ROLES_READ] == ["Yes", "No", "No", "No"]


def test_who_may_not_see_users_gets_no_way_to_them(app: Flask, browser: Browser) -> None:
    with app.app_context(), unit_of_work():
        db.session.add(Role(name="looker", description="Looks on", permissions=[ROLES_READ]))
    page = browser(make_person(app, "Lou", role="looker")).get("/admin/roles").text
    assert "/admin/users" not in page
    assert "1 person" in page
