"""Links that an administrator sends: an invitation, and one to a new password."""

import re

import pytest
from flask import Flask
from sqlalchemy import func, select

from models import User, db
from services import outbox_service
from tests.clients import PageClient
from tests.factories import PASSWORD, Person, make_person
from tests.integration.pages.admin.accounts import events, flash_after, mails_to
from tests.integration.pages.admin.conftest import Browser
from tests.state import unchanged

# ----------------------------------------------------------------------------------------------------------- invite


def test_an_invitation_is_mailed(app: Flask, desk: PageClient) -> None:
    response = desk.submit("/admin/users/new", name="Dora", email="dora@example.com", role="editor")
    assert "An invitation is on its way to dora@example.com." in flash_after(desk, response)
    assert mails_to(app, "dora@example.com") == ["invitation"]
    with app.app_context():
        dora = db.session.scalars(select(User).where(User.email == "dora@example.com")).one()
    assert (dora.role, dora.email_verified, dora.password_hash) == ("editor", False, None)


@pytest.mark.parametrize(
    ("fields", "field", "status"),
    [
        ({"name": "", "email": "dora@example.com", "role": "member"}, "name", 422),
        ({"name": "Dora", "email": "dora", "role": "member"}, "email", 422),
        ({"name": "Dora", "email": "dora@example.com", "role": "king"}, "role", 422),
        ({"name": "Dora", "email": "ADA@EXAMPLE.COM", "role": "member"}, "", 409),
    ],
)
def test_an_invitation_that_is_wrong_is_shown_again(
    app: Flask, browser: Browser, fields: dict[str, str], field: str, status: int
) -> None:
    client = browser(make_person(app, "Ada Okonkwo", role="admin", email="ada@example.com"))
    with unchanged(app):
        response = client.submit("/admin/users/new", **fields)
    assert response.status_code == status
    assert "<title>Error: Invite a user" in response.text
    if field:
        assert f'href="#{field}"' in response.text
    if fields["name"]:
        assert 'value="Dora"' in response.text


def test_an_invitation_takes_no_password(app: Flask, desk: PageClient) -> None:
    desk.submit("/admin/users/new", name="Dora", email="dora@example.com", role="member", password=PASSWORD)
    with app.app_context():
        dora = db.session.scalars(select(User).where(User.email == "dora@example.com")).one()
    assert dora.password_hash is None


# ------------------------------------------------------------------------------------------------------- reset link


def test_a_reset_link_is_mailed_and_works(app: Flask, desk: PageClient, bob: Person) -> None:
    response = desk.submit(f"/admin/users/{bob.id}/reset-password", f"/admin/users/{bob.id}")
    assert "The link is on its way" in flash_after(desk, response)
    assert mails_to(app, bob.email) == ["reset_password"]
    assert events(app, "account:password:reset_request")[0]["actor"] != bob.id
    with app.app_context():
        link = re.search(r"https?://\S+token=\S+", outbox_service.mailbox()[0].text)
    assert link
    theirs = app.test_client()
    assert theirs.get(link[0], follow_redirects=True).status_code == 200


def test_no_page_shows_the_link(app: Flask, desk: PageClient, bob: Person) -> None:
    response = desk.submit(f"/admin/users/{bob.id}/reset-password", f"/admin/users/{bob.id}")
    assert "token=" not in desk.get(response.location).text
    assert "token=" not in desk.get("/admin/outbox").text


def test_who_never_had_a_password_is_invited_again(app: Flask, desk: PageClient) -> None:
    dora = make_person(app, "Dora", password_hash=None, email_verified=False)
    desk.submit(f"/admin/users/{dora.id}/reset-password", f"/admin/users/{dora.id}")
    assert mails_to(app, dora.email) == ["invitation"]


def test_a_suspended_person_gets_no_link(app: Flask, desk: PageClient) -> None:
    sam = make_person(app, "Sam", is_active=False, suspended_at=func.now())
    with unchanged(app):
        response = desk.submit(f"/admin/users/{sam.id}/reset-password", f"/admin/users/{sam.id}")
    assert "Reinstate it first." in flash_after(desk, response)
