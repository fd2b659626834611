"""Which account one comes to by signing in elsewhere: made, found, joined (security cases A7, A87, A88, A91)."""

from typing import Any

import pyotp
import pytest
from flask import Flask
from sqlalchemy import text

from models import db
from models.base import now
from tests.clients import Api, PageClient, browser
from tests.factories import PASSWORD, Person, make_person
from tests.integration.oidc.desk import actions, column, come_back, connect, identities, run, sign_in, way_out
from tests.integration.pages.desk import is_signed_in, subjects
from tests.issuer import FakeIssuer
from tests.state import unchanged

pytestmark = pytest.mark.usefixtures("early_in_a_step")


def test_a_newcomer_with_a_confirmed_address_gets_an_account(
    issuer: FakeIssuer, app: Flask, client: PageClient
) -> None:
    answer = sign_in(client, issuer)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/dashboard"
    assert is_signed_in(client)
    [(user_id, url, subject)] = identities(app)
    assert (url, subject) == (issuer.url, "auth0|alice")
    assert column(app, user_id, "email") == "alice@example.com"
    assert column(app, user_id, "name") == "Alice Elsewhere"
    assert column(app, user_id, "role") == "member"
    assert column(app, user_id, "email_verified") is True
    assert column(app, user_id, "password_hash") is None
    assert {"account:register", "account:login:success"} <= set(actions(app))


def test_who_was_here_before_comes_to_the_same_account(
    issuer: FakeIssuer, app: Flask, client: PageClient
) -> None:
    sign_in(client, issuer)
    sign_in(browser(app), issuer)
    assert len(identities(app)) == 1


@pytest.mark.parametrize("name", [None, "", 7, "  ", "x" * 200, "two\nlines", ["Alice"]])
def test_a_name_that_is_none_is_made_of_the_address(
    issuer: FakeIssuer, app: Flask, client: PageClient, name: Any
) -> None:
    issuer.who.name = name
    assert sign_in(client, issuer).status_code == 303
    assert column(app, identities(app)[0][0], "name") == "alice"


def test_the_address_may_come_from_userinfo(issuer: FakeIssuer, app: Flask, client: PageClient) -> None:
    issuer.in_userinfo_only = True
    assert sign_in(client, issuer).status_code == 303
    assert column(app, identities(app)[0][0], "email") == "alice@example.com"
    assert "/userinfo" in issuer.requests


def test_an_address_confirmed_on_both_sides_joins_the_account(
    issuer: FakeIssuer, app: Flask, client: PageClient
) -> None:
    alice = make_person(app, "Alice Lindqvist", email="alice@example.com")
    issuer.who.email = "Alice@Example.com"
    assert sign_in(client, issuer).status_code == 303
    assert identities(app) == [(alice.id, issuer.url, "auth0|alice")]
    assert column(app, alice.id, "name") == "Alice Lindqvist"
    assert subjects(app, alice.email) == ["An account elsewhere was connected to yours"]
    assert "account:identity:link" in actions(app)
    assert browser(app).sign_in(alice).status_code == 303


@pytest.mark.parametrize("verified", [False, None, "true", 1, "false", [True]])
@pytest.mark.parametrize("is_known", [True, False])
def test_an_address_the_issuer_has_not_confirmed_opens_and_makes_nothing(
    issuer: FakeIssuer, app: Flask, client: PageClient, verified: Any, is_known: bool
) -> None:
    if is_known:
        make_person(app, "Alice Lindqvist", email="alice@example.com")
    issuer.who.email_verified = verified
    back = issuer.authorize(way_out(client))
    with unchanged(app, but=("audit_events",)):
        answer = come_back(client, back)
    assert answer.status_code == 403
    assert "confirmed on the other side" in answer.get_data(as_text=True)
    assert not is_signed_in(client)
    assert actions(app)[-1] == "account:login:failure"


@pytest.mark.parametrize("email", [None, "", "no address", "a@b", "x\r\nBcc: y@example.com", 7])
def test_without_a_usable_address_there_is_no_account(
    issuer: FakeIssuer, app: Flask, client: PageClient, email: Any
) -> None:
    issuer.who.email = email
    assert sign_in(client, issuer).status_code == 403
    assert identities(app) == []


def test_what_a_stranger_set_on_an_unconfirmed_account_dies_when_its_owner_comes(
    issuer: FakeIssuer, app: Flask, client: PageClient, api: Api
) -> None:
    """Pre-hijacking: he registered the victim's address, and perhaps has a session, a link and a second step."""
    stranger = make_person(app, "Mallory", email="alice@example.com", email_verified=False)
    app.config["EMAIL_VERIFICATION"] = "optional"
    try:
        his = browser(app)
        his.sign_in(stranger)
        token = api.as_(stranger).token
        pair = api.post("/auth/login", {"email": stranger.email, "password": PASSWORD}).json["data"]
        connect(app, stranger, issuer, "auth0|mallory")
        caller = Api(app, token)
        secret = caller.post("/users/me/totp").json["data"]["secret"]
        assert (
            caller.post("/users/me/totp/confirm", {"code": pyotp.TOTP(secret).at(now())}).status_code == 200
        )
        client.submit("/auth/forgot-password", email=stranger.email)
        assert sign_in(client, issuer).status_code == 303
        assert is_signed_in(client)
        assert not is_signed_in(his)
        assert caller.get("/users/me").status_code == 401
        assert api.post("/auth/refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401
        assert browser(app).sign_in(stranger).status_code == 401
    finally:
        app.config["EMAIL_VERIFICATION"] = "required"
    assert identities(app) == [(stranger.id, issuer.url, "auth0|alice")]
    assert column(app, stranger.id, "password_hash") is None
    assert column(app, stranger.id, "name") == "Alice Elsewhere"
    assert column(app, stranger.id, "has_second_factor") is False
    with app.app_context():
        mailed_to_her_just_now = db.session.scalars(text("SELECT purpose FROM one_time_tokens")).all()
        assert mailed_to_her_just_now == ["not_me", "not_me"]


def test_an_invitation_is_accepted_by_coming(issuer: FakeIssuer, app: Flask, client: PageClient) -> None:
    invited = make_person(
        app, "Eve Editor", email="alice@example.com", password_hash=None, email_verified=False, role="editor"
    )
    assert sign_in(client, issuer).status_code == 303
    assert column(app, invited.id, "role") == "editor"
    assert column(app, invited.id, "name") == "Eve Editor"
    assert column(app, invited.id, "email_verified") is True


def test_an_identity_is_its_issuer_and_subject_whatever_else_changes(
    issuer: FakeIssuer, app: Flask, client: PageClient
) -> None:
    sign_in(client, issuer)
    bob = make_person(app, "Bob", email="bob@example.com")
    issuer.who.email, issuer.who.name = "bob@example.com", "Bob"
    issuer.who.more = {"preferred_username": "bob"}
    sign_in(browser(app), issuer)
    [(user_id, _, _)] = identities(app)
    assert user_id != bob.id
    assert column(app, user_id, "email") == "alice@example.com"
    issuer.who.email_verified = False
    assert sign_in(browser(app), issuer).status_code == 303


def test_the_same_subject_elsewhere_is_somebody_else(
    issuer: FakeIssuer, other: FakeIssuer, app: Flask, client: PageClient, alice: Person
) -> None:
    connect(app, alice, other)
    sign_in(client, issuer)
    assert len({user_id for user_id, _, _ in identities(app)}) == 2


def test_a_suspended_account_stays_shut(issuer: FakeIssuer, app: Flask, client: PageClient) -> None:
    alice = make_person(app, "Alice", email="alice@example.com", is_active=False, suspended_at=now())
    unlinked = sign_in(client, issuer)
    connect(app, alice, issuer)
    linked = sign_in(client, issuer)
    assert unlinked.status_code == linked.status_code == 403
    assert not is_signed_in(client)
    issuer.who.subject, issuer.who.email_verified = "auth0|x", False
    unverified = sign_in(client, issuer)
    assert "confirmed on the other side" in unverified.get_data(as_text=True)
    assert linked.get_data(as_text=True).count("confirmed on the other side") == 1


def test_who_has_no_password_may_set_one_by_mail(issuer: FakeIssuer, app: Flask, client: PageClient) -> None:
    sign_in(client, issuer)
    assert "Set a password by mail" in client.get("/account/password").get_data(as_text=True)
    client.submit("/auth/forgot-password", email="alice@example.com")
    assert len(subjects(app, "alice@example.com")) == 1


def test_an_account_without_password_opens_by_no_password(
    issuer: FakeIssuer, app: Flask, client: PageClient
) -> None:
    sign_in(client, issuer)
    answer = browser(app).submit("/auth/login", email="alice@example.com", password="anything at all")
    assert answer.status_code == 401


def test_deleting_an_account_deletes_its_identities(issuer: FakeIssuer, app: Flask, alice: Person) -> None:
    connect(app, alice, issuer)
    run(app, "DELETE FROM users WHERE id = :id", id=alice.id)
    assert identities(app) == []
