"""Roles on their page."""

import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from models import Role, UserSession, db
from models.base import now
from services.base_service import unit_of_work
from services.permissions import AUDIT_READ, PERMISSIONS, ROLES_READ, ROLES_WRITE
from tests.clients import PageClient
from tests.conftest import counted
from tests.factories import Person, make_person, make_role
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


def test_a_role_is_made_with_check_boxes(app: Flask, desk: PageClient) -> None:
    page = desk.get("/admin/roles/new").text
    assert page.count('type="checkbox"') == len(PERMISSIONS)
    ticked = [AUDIT_READ, ROLES_READ]
    response = desk.submit("/admin/roles/new", name="auditor", description="Looks on", permissions=ticked)
    assert response.location == "/admin/roles"
    assert "The role auditor is made." in desk.get("/admin/roles").text
    assert roles(app)["auditor"] == [ROLES_READ, AUDIT_READ]


def test_what_was_ticked_stays_ticked_beside_the_fault(desk: PageClient) -> None:
    response = desk.submit("/admin/roles/new", name="Auditor!", description="", permissions=[AUDIT_READ])
    assert response.status_code == 422
    ticked = re.findall(r'value="([a-z:]+)" aria-describedby="[^"]+" checked', response.text)
    assert ticked == [AUDIT_READ]
    assert 'href="#name"' in response.text
    assert 'href="#description"' in response.text


def test_no_box_ticked_takes_everything_away(app: Flask, desk: PageClient) -> None:
    make_role(app, "auditor", AUDIT_READ)
    page = desk.get("/admin/roles/auditor/edit").text
    assert re.findall(r'value="([a-z:]+)" aria-describedby="[^"]+" checked', page) == [AUDIT_READ]
    desk.submit("/admin/roles/auditor/edit", name="auditor", description="Nothing")
    assert roles(app)["auditor"] == []


def test_the_administrators_role_shows_no_boxes(app: Flask, desk: PageClient) -> None:
    page = desk.get("/admin/roles/admin/edit").text
    assert 'type="checkbox"' not in page
    assert "Delete this role" not in page
    desk.submit("/admin/roles/admin/edit", name="admin", description="Runs it", permissions=[*PERMISSIONS])
    assert set(roles(app)["admin"]) == set(PERMISSIONS)
    refused = desk.submit("/admin/roles/admin/edit", name="admin", description="Runs it")
    assert refused.status_code == 409


def test_a_role_is_deleted_after_one_question(app: Flask, desk: PageClient) -> None:
    make_role(app, "auditor")
    assert "Delete the role auditor?" in desk.get("/admin/roles/auditor/delete").text
    assert "auditor" in roles(app)
    desk.submit("/admin/roles/auditor/delete")
    assert "auditor" not in roles(app)


def test_a_role_in_use_offers_its_holders_instead(app: Flask, desk: PageClient) -> None:
    make_role(app, "auditor")
    make_person(app, "Lou", role="auditor", password_hash="x")
    page = desk.get("/admin/roles/auditor/delete").text
    assert "/admin/users?role=auditor" in page
    token = desk.token("/account/password")
    assert desk.post("/admin/roles/auditor/delete", data={"csrf_token": token}).status_code == 409
    assert "auditor" in roles(app)


def test_only_what_one_may_is_offered(app: Flask, browser: Browser) -> None:
    make_role(app, "writer", ROLES_READ, ROLES_WRITE)
    client = browser(make_person(app, "Willa", role="writer"))
    page = client.get("/admin/roles/new").text
    assert re.findall(r'name="permissions" value="([a-z:]+)"', page) == [ROLES_READ, ROLES_WRITE]


@pytest.mark.parametrize("page", ["new", "auditor/edit", "auditor/delete"])
def test_an_old_sign_in_is_confirmed_first(app: Flask, desk: PageClient, page: str) -> None:
    make_role(app, "auditor")
    with app.app_context(), unit_of_work():
        long_ago = now() - timedelta(minutes=11)
        db.session.execute(update(UserSession).values(authenticated_at=long_ago))
    response = desk.get(f"/admin/roles/{page}")
    assert response.status_code == 303
    assert response.location.startswith("/auth/reauthenticate?next=/admin/roles/")


def roles(app: Flask) -> dict[str, list[str]]:
    with app.app_context():
        return {
            row.name: list(row.permissions) for row in db.session.execute(select(Role.name, Role.permissions))
        }
