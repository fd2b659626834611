"""Connected accounts on their page and over the API; the issuer's own bearer tokens (security case A90, ASVS V10)."""

import time
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from models import db
from models.base import now
from services import outbox_service
from tests.clients import Api, PageClient, browser
from tests.conftest import counted
from tests.factories import Person
from tests.integration.oidc.desk import come_back, connect, identities, run, sign_in, way_out
from tests.integration.pages.desk import is_signed_in, subjects
from tests.issuer import AUDIENCE, CLIENT_ID, FakeIssuer, signer


def grow_old(app: Flask) -> None:
    run(app, "UPDATE sessions SET authenticated_at = :then", then=now() - timedelta(minutes=11))


def link_out(client: PageClient) -> str:
    page = client.submit("/account/connected/link", "/account/connected")
    assert page.status_code == 200
    return str(page.headers["Refresh"]).partition("url=")[2]


def test_somebody_signed_in_connects_an_account_elsewhere_whatever_its_address(
    issuer: FakeIssuer, app: Flask, client: PageClient, alice: Person
) -> None:
    client.sign_in(alice)
    issuer.who.email, issuer.who.email_verified = "other@example.org", False
    answer = come_back(client, issuer.authorize(link_out(client)))
    assert answer.headers["Location"] == "/account/connected"
    assert identities(app) == [(alice.id, issuer.url, "auth0|alice")]
    assert "other@example.org" in client.get("/account/connected").get_data(as_text=True)
    assert "An account elsewhere was connected to yours" in subjects(app, alice.email)
    assert sign_in(browser(app), issuer).headers["Location"] == "/dashboard"


def test_connecting_needs_a_post_and_a_fresh_session(
    issuer: FakeIssuer, app: Flask, client: PageClient, alice: Person
) -> None:
    client.sign_in(alice)
    assert client.get("/account/connected/link").status_code == 405
    assert client.post("/account/connected/link").status_code == 403
    grow_old(app)
    answer = client.submit("/account/connected/link", "/account/connected")
    assert answer.headers["Location"].startswith("/auth/reauthenticate")
    token = client.token("/account/connected")
    told = client.post(
        "/account/connected/link", data={"csrf_token": token}, headers={"Accept": "application/json"}
    )
    assert told.status_code == 403
    assert told.json["error"]["code"] == "REAUTHENTICATION_REQUIRED"
    assert issuer.requests == []


def test_a_connection_is_finished_in_the_session_that_began_it(
    issuer: FakeIssuer, app: Flask, client: PageClient, alice: Person, bob: Person
) -> None:
    client.sign_in(alice)
    back = issuer.authorize(link_out(client))
    theirs = browser(app)
    theirs.sign_in(bob)
    assert come_back(theirs, back).status_code == 400
    client.submit("/auth/logout")
    assert come_back(client, back).status_code == 400
    assert identities(app) == []


def test_what_opens_another_account_is_not_connected_twice(
    issuer: FakeIssuer, app: Flask, client: PageClient, alice: Person, bob: Person
) -> None:
    connect(app, bob, issuer)
    client.sign_in(alice)
    assert come_back(client, issuer.authorize(link_out(client))).status_code == 409
    assert identities(app) == [(bob.id, issuer.url, "auth0|alice")]


def test_disconnecting_ends_other_sessions_and_tells_the_owner(
    issuer: FakeIssuer, app: Flask, client: PageClient, alice: Person
) -> None:
    identity = connect(app, alice, issuer)
    other = browser(app)
    other.sign_in(alice)
    client.sign_in(alice)
    client.submit(f"/account/connected/{identity}/unlink", "/account/connected")
    assert identities(app) == []
    assert is_signed_in(client)
    assert not is_signed_in(other)
    assert "An account elsewhere was disconnected from yours" in subjects(app, alice.email)


def test_the_last_way_in_stays(issuer: FakeIssuer, app: Flask, client: PageClient, api: Api) -> None:
    sign_in(client, issuer)
    with app.app_context():
        before = len(outbox_service.mailbox())
    identity = run_id(app)
    client.submit(f"/account/connected/{identity}/unlink", "/account/connected")
    assert "only way in" in client.get("/account/connected").get_data(as_text=True)
    person = Person(identities(app)[0][0], "alice@example.com", "Alice", "")
    answer = api.as_(person).delete(f"/users/me/identities/{identity}")
    assert answer.status_code == 409
    assert len(identities(app)) == 1
    with app.app_context():
        assert len(outbox_service.mailbox()) == before


def run_id(app: Flask) -> str:
    with app.app_context():
        newest = text("SELECT public_id::text FROM identities ORDER BY id DESC LIMIT 1")
        return str(db.session.execute(newest).scalar_one())


def test_the_api_lists_and_disconnects(
    issuer: FakeIssuer, app: Flask, api: Api, alice: Person, bob: Person
) -> None:
    identity = connect(app, alice, issuer)
    caller = api.as_(alice)
    [listed] = caller.get("/users/me/identities").json["data"]
    assert listed["id"] == identity
    assert (listed["issuer"], listed["subject"], listed["email"]) == (
        issuer.url,
        "auth0|alice",
        "there@example.org",
    )
    assert api.as_(bob).get("/users/me/identities").json["data"] == []
    assert api.as_(bob).delete(f"/users/me/identities/{identity}").status_code == 404
    assert caller.delete(f"/users/me/identities/{identity}").status_code == 200
    assert caller.delete(f"/users/me/identities/{identity}").status_code == 404
    connect(app, alice, issuer)
    grow_old(app)
    assert caller.delete(f"/users/me/identities/{run_id(app)}").status_code == 403


def test_confirming_at_the_issuer_makes_the_session_fresh(
    issuer: FakeIssuer, app: Flask, client: PageClient
) -> None:
    sign_in(client, issuer)
    grow_old(app)
    page = client.get("/auth/reauthenticate?next=/account/connected").get_data(as_text=True)
    assert "Confirm with Auth0" in page
    answer = sign_in(client, issuer, "/auth/oidc/confirm?next=/account/connected")
    assert answer.headers["Location"] == "/account/connected"
    assert issuer.asked["prompt"] == "login"
    assert issuer.asked["max_age"] == "0"
    assert link_out(client).startswith(issuer.url)


@pytest.mark.parametrize("age_seconds", [120, None])
def test_a_confirmation_without_asking_again_counts_nothing(
    issuer: FakeIssuer, app: Flask, client: PageClient, age_seconds: int | None
) -> None:
    sign_in(client, issuer)
    grow_old(app)
    if age_seconds is None:
        issuer.claim_changes = lambda claims: {k: v for k, v in claims.items() if k != "auth_time"}
    else:
        issuer.age_seconds = age_seconds
    assert sign_in(client, issuer, "/auth/oidc/confirm").status_code == 401
    answer = client.submit("/account/connected/link", "/account/connected")
    assert answer.headers["Location"].startswith("/auth/reauthenticate")


def test_somebody_else_at_the_issuer_confirms_nothing(
    issuer: FakeIssuer, app: Flask, client: PageClient
) -> None:
    sign_in(client, issuer)
    grow_old(app)
    way = way_out(client, "/auth/oidc/confirm")
    issuer.who.subject = "auth0|bob"
    assert come_back(client, issuer.authorize(way)).status_code == 401


# ---- the issuer's own tokens at the API


def test_an_access_token_of_the_issuer_opens_the_linked_account_in_one_statement(
    issuer: FakeIssuer, app: Flask, alice: Person
) -> None:
    connect(app, alice, issuer)
    caller = Api(app, issuer.access_token())
    with counted() as statements:
        answer = caller.get("/users/me")
    assert answer.status_code == 200
    assert answer.json["data"]["id"] == alice.id
    assert len(statements) == 2  # who it is, and his account: as with a token of ours


def test_our_own_tokens_work_beside_it(issuer: FakeIssuer, api: Api, alice: Person) -> None:
    assert api.as_(alice).get("/users/me").status_code == 200
    assert issuer.requests == []


def test_nobody_is_made_by_a_bearer_token(issuer: FakeIssuer, app: Flask) -> None:
    answer = Api(app, issuer.access_token(email="alice@example.com", email_verified=True)).get("/users/me")
    assert answer.status_code == 401
    assert identities(app) == []


def test_without_an_audience_none_is_taken(
    issuer: FakeIssuer, app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(app, alice, issuer)
    monkeypatch.setitem(app.config, "OIDC_AUDIENCE", "")
    assert Api(app, issuer.access_token()).get("/users/me").status_code == 401
    assert issuer.requests == []


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": CLIENT_ID},
        {"aud": None},
        {"aud": [f"{AUDIENCE}/"]},
        {"iss": "https://evil.example"},
        {"exp": int(time.time()) - 60},
        {"exp": None},
        {"iat": None},
        {"nbf": int(time.time()) + 600},
        {"sub": None},
        {"sub": 7},
        {"sub": "auth0|bob"},
        {"sub": "auth0|ALICE"},
        {"nonce": "an ID token"},
        {"at_hash": "an ID token"},
    ],
)
def test_a_wrong_access_token_is_401(
    issuer: FakeIssuer, app: Flask, alice: Person, changes: dict[str, Any]
) -> None:
    connect(app, alice, issuer)
    assert Api(app, issuer.access_token(**changes)).get("/users/me").status_code == 401


@pytest.mark.parametrize("header", [{"typ": "logout+jwt"}, {"typ": ""}, {"kid": "unknown"}])
def test_an_access_token_with_a_wrong_header_is_401(
    issuer: FakeIssuer, app: Flask, alice: Person, header: dict[str, Any]
) -> None:
    connect(app, alice, issuer)
    issuer.header_changes = header
    assert Api(app, issuer.access_token()).get("/users/me").status_code == 401


def test_a_strangers_signature_is_401(issuer: FakeIssuer, app: Flask, alice: Person) -> None:
    connect(app, alice, issuer)
    stranger = signer("stranger")
    stranger.id = "first"
    issuer.signs_with = stranger
    assert Api(app, issuer.access_token()).get("/users/me").status_code == 401


def test_a_suspended_user_is_401_with_it(issuer: FakeIssuer, app: Flask, alice: Person) -> None:
    connect(app, alice, issuer)
    run(app, "UPDATE users SET is_active = false, suspended_at = now() WHERE id = :id", id=alice.id)
    assert Api(app, issuer.access_token()).get("/users/me").status_code == 401


def test_what_needs_a_session_or_a_fresh_one_is_403_with_it(
    issuer: FakeIssuer, app: Flask, alice: Person
) -> None:
    identity = connect(app, alice, issuer)
    caller = Api(app, issuer.access_token())
    assert caller.post("/auth/logout").status_code == 403
    assert caller.delete(f"/users/me/identities/{identity}").status_code == 403
    assert caller.post("/auth/reauthenticate", {"password": alice.password}).status_code == 403
    body = {"current_password": alice.password, "new_password": "copper violin seventeen"}
    assert caller.post("/users/me/password", body).status_code == 403
    assert caller.get("/users/me/sessions").status_code == 200


def test_a_second_step_here_has_to_be_proven_by_it(issuer: FakeIssuer, app: Flask, alice: Person) -> None:
    connect(app, alice, issuer)
    run(app, "UPDATE users SET has_second_factor = true WHERE id = :id", id=alice.id)
    answer = Api(app, issuer.access_token()).get("/users/me")
    assert answer.status_code == 403
    assert answer.json["error"]["code"] == "SECOND_FACTOR_REQUIRED"
    assert Api(app, issuer.access_token(amr=["pwd", "mfa"])).get("/users/me").status_code == 200
