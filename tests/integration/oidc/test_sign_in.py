"""Signing in with an issuer: accounts made, found and joined (security cases A7, A85, A87, A88, A91)."""

import json
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
import time_machine
from flask import Flask
from sqlalchemy import text

from models import db
from models.base import now
from tests.clients import Api, PageClient, browser
from tests.factories import PASSWORD, Person, make_person
from tests.integration.oidc.desk import (
    actions,
    column,
    come_back,
    connect,
    identities,
    run,
    sign_in,
    way_out,
)
from tests.integration.pages.desk import is_signed_in, subjects
from tests.issuer import FakeIssuer
from tests.state import unchanged

pytestmark = pytest.mark.usefixtures("early_in_a_step")


@pytest.fixture
def client(app: Flask) -> PageClient:
    return browser(app)


def test_the_sign_in_page_offers_the_issuer_only_where_there_is_one(
    issuer: FakeIssuer, app: Flask, client: PageClient
) -> None:
    page = client.get("/auth/login?next=/account/profile").get_data(as_text=True)
    assert "Continue with Auth0" in page
    assert 'href="/auth/oidc/start?next=/account/profile"' in page
    app.config["OIDC_ISSUER"] = ""
    assert "Continue with" not in client.get("/auth/login").get_data(as_text=True)


def test_without_an_issuer_there_are_no_such_pages(app: Flask, client: PageClient, alice: Person) -> None:
    assert client.get("/auth/oidc/start").status_code == 404
    assert client.get("/auth/oidc/callback?state=x").status_code == 400
    client.sign_in(alice)
    assert client.get("/account/connected").status_code == 404
    assert client.get("/auth/oidc/confirm").status_code == 404


def test_the_way_out_asks_for_a_code_with_state_nonce_and_pkce(
    issuer: FakeIssuer, client: PageClient
) -> None:
    asked = parse_qs(urlsplit(way_out(client)).query)
    assert asked["redirect_uri"] == ["http://localhost/auth/oidc/callback"]
    assert asked["scope"] == ["openid profile email"]
    assert asked["max_age"] == ["86400"]
    assert all(len(asked[name][0]) == 43 for name in ("state", "nonce", "code_challenge"))
    assert len({asked[name][0] for name in ("state", "nonce", "code_challenge")}) == 3
    assert parse_qs(urlsplit(way_out(client)).query)["state"] != asked["state"]


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


def test_one_comes_to_the_page_one_wanted(issuer: FakeIssuer, client: PageClient) -> None:
    answer = sign_in(client, issuer, "/auth/oidc/start?next=/account/profile")
    assert answer.headers["Location"] == "/account/profile"


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1"]
)
def test_a_page_of_somebody_else_is_no_page_to_come_to(
    issuer: FakeIssuer, client: PageClient, target: str
) -> None:
    answer = client.get("/auth/oidc/start", query_string={"next": target})
    back = come_back(client, issuer.authorize(answer.headers["Location"]))
    assert back.headers["Location"] == "/dashboard"


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


def test_the_secret_goes_where_the_issuer_takes_it(issuer: FakeIssuer, client: PageClient) -> None:
    issuer.metadata_changes = {"token_endpoint_auth_methods_supported": ["client_secret_basic"]}
    assert sign_in(client, issuer).status_code == 303


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
        assert db.session.execute(text("SELECT count(*) FROM one_time_tokens")).scalar() == 0


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


def with_app(app: Flask, api: Api, person: Person) -> str:
    caller = api.as_(person)
    secret = str(caller.post("/users/me/totp").json["data"]["secret"])
    code = pyotp.TOTP(secret).at(now() - timedelta(seconds=30))
    assert caller.post("/users/me/totp/confirm", {"code": code}).status_code == 200
    return secret


def test_the_second_step_of_an_account_is_asked(
    issuer: FakeIssuer, app: Flask, client: PageClient, api: Api, alice: Person
) -> None:
    secret = with_app(app, api, alice)
    connect(app, alice, issuer)
    answer = sign_in(client, issuer, "/auth/oidc/start?next=/account/profile")
    assert answer.headers["Location"] == "/auth/second-factor"
    assert not is_signed_in(client)
    done = client.submit("/auth/second-factor", code=pyotp.TOTP(secret).at(now()))
    assert done.headers["Location"] == "/account/profile"
    assert is_signed_in(client)


@pytest.mark.parametrize(
    "proof",
    [
        {"amr": ["pwd", "mfa"]},
        {"acr": "http://schemas.openid.net/pape/policies/2007/06/multi-factor"},
    ],
)
def test_a_second_step_proven_at_the_issuer_is_enough(
    issuer: FakeIssuer, app: Flask, client: PageClient, api: Api, alice: Person, proof: dict[str, Any]
) -> None:
    with_app(app, api, alice)
    connect(app, alice, issuer)
    issuer.who.more = proof
    assert sign_in(client, issuer).headers["Location"] == "/dashboard"


@pytest.mark.parametrize(
    "proof", [{"amr": ["pwd"]}, {"amr": "mfa"}, {"acr": "1"}, {"amr": [["mfa"]]}, {"mfa": True}]
)
def test_what_proves_no_second_step_does_not_spare_it(
    issuer: FakeIssuer, app: Flask, client: PageClient, api: Api, alice: Person, proof: dict[str, Any]
) -> None:
    with_app(app, api, alice)
    connect(app, alice, issuer)
    issuer.who.more = proof
    assert sign_in(client, issuer).headers["Location"] == "/auth/second-factor"


def test_an_operator_may_have_it_asked_always(
    issuer: FakeIssuer,
    app: Flask,
    client: PageClient,
    api: Api,
    alice: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(app.config, "OIDC_MFA_VALUES", ("none",))
    with_app(app, api, alice)
    connect(app, alice, issuer)
    issuer.who.more = {"amr": ["mfa", "none"]}
    assert sign_in(client, issuer).headers["Location"] == "/auth/second-factor"


def test_who_must_have_a_second_step_is_led_to_one(
    issuer: FakeIssuer, app: Flask, client: PageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "REQUIRE_MFA", "all")
    assert sign_in(client, issuer).status_code == 303
    assert client.get("/dashboard", headers={"Accept": "application/json"}).status_code == 403


@pytest.mark.parametrize("times", [1, 3])
def test_state_is_good_once_and_in_its_own_browser(
    issuer: FakeIssuer, app: Flask, client: PageClient, times: int
) -> None:
    back = issuer.authorize(way_out(client))
    stranger = browser(app)
    for _ in range(times):
        assert come_back(stranger, back).status_code == 400
    assert not is_signed_in(stranger)
    assert come_back(client, back).status_code == 303
    assert come_back(client, back).status_code == 400


def test_a_copied_cookie_brings_no_used_state_back(
    issuer: FakeIssuer, app: Flask, client: PageClient
) -> None:
    back = issuer.authorize(way_out(client))
    cookie = client.get_cookie("session")
    assert cookie is not None
    copy = browser(app)
    copy.set_cookie("session", cookie.value)
    assert come_back(client, back).status_code == 303
    assert come_back(copy, back).status_code == 400
    assert not is_signed_in(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"state": None},
        {"state": ""},
        {"state": "x"},
        {"state": "é"},
        {"state": "x" * 3000},
        {"code": None},
        {"code": ""},
    ],
)
def test_a_return_without_what_belongs_to_it_is_refused(
    issuer: FakeIssuer, client: PageClient, change: dict[str, str | None]
) -> None:
    back = issuer.authorize(way_out(client))
    assert come_back(client, back, **change).status_code == 400
    assert not is_signed_in(client)


def test_a_parameter_that_is_there_twice_is_refused(issuer: FakeIssuer, client: PageClient) -> None:
    back = issuer.authorize(way_out(client))
    query = urlsplit(back).query
    assert client.get(f"/auth/oidc/callback?{query}&code=another").status_code == 400
    assert not is_signed_in(client)


def test_a_code_of_somebody_else_is_refused(issuer: FakeIssuer, app: Flask, client: PageClient) -> None:
    """Code injection: PKCE binds the code to the browser that asked for it."""
    stolen = parse_qs(urlsplit(issuer.authorize(way_out(browser(app)))).query)["code"][0]
    own = issuer.authorize(way_out(client))
    assert come_back(client, own, code=stolen).status_code == 400
    assert not is_signed_in(client)


def test_the_way_back_is_open_for_ten_minutes(issuer: FakeIssuer, client: PageClient) -> None:
    back = issuer.authorize(way_out(client))
    with time_machine.travel(now() + timedelta(minutes=10, seconds=1)):
        assert come_back(client, back).status_code == 400


def test_several_tabs_may_be_on_their_way(issuer: FakeIssuer, client: PageClient) -> None:
    first, second = issuer.authorize(way_out(client)), issuer.authorize(way_out(client))
    assert come_back(client, first).status_code == 303
    del second


@pytest.mark.parametrize("error", ["access_denied", "login_required", "nonsense", "<script>"])
def test_whoever_says_no_at_the_issuer_is_back_at_the_sign_in(
    issuer: FakeIssuer, client: PageClient, error: str
) -> None:
    back = issuer.authorize(way_out(client))
    answer = come_back(client, back, code=None, error=error, error_description="<script>alert(1)</script>")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/auth/login"
    page = client.get("/auth/login").get_data(as_text=True)
    assert "You were not signed in." in page
    assert "<script>alert" not in page


def test_an_error_without_our_state_tells_nothing(issuer: FakeIssuer, client: PageClient) -> None:
    del issuer
    assert client.get("/auth/oidc/callback?error=access_denied&state=x").status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "image"},
        {"Sec-Purpose": "prefetch"},
        {"Referer": "https://evil.example/page"},
        {"Referer": "http://localhost.evil.example/"},
    ],
)
def test_nobody_is_sent_to_the_issuer_by_another_site_or_a_picture(
    issuer: FakeIssuer, app: Flask, client: PageClient, headers: dict[str, str]
) -> None:
    with unchanged(app):
        answer = client.get("/auth/oidc/start?next=/account/profile", headers=headers)
    assert answer.status_code == 200
    assert 'href="/auth/oidc/start?next=/account/profile"' in answer.get_data(as_text=True)
    assert issuer.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "none"},
        {"Referer": "http://localhost/auth/login"},
    ],
)
def test_a_person_on_our_own_page_goes_at_once(
    issuer: FakeIssuer, client: PageClient, headers: dict[str, str]
) -> None:
    assert way_out(client, headers=headers).startswith(issuer.url)


def test_a_post_needs_the_form_token(issuer: FakeIssuer, client: PageClient) -> None:
    assert client.post("/auth/oidc/start").status_code == 403
    answer = client.submit("/auth/oidc/start", "/auth/login")
    assert answer.headers["Location"].startswith(issuer.url)


@pytest.mark.parametrize("path", ["/auth/oidc/start", "/auth/oidc/callback?state=x"])
def test_head_does_nothing(issuer: FakeIssuer, app: Flask, client: PageClient, path: str) -> None:
    with unchanged(app):
        assert client.head(path).status_code in {200, 405}
    assert issuer.requests == []


def test_head_of_a_good_return_does_not_use_it_up(issuer: FakeIssuer, client: PageClient) -> None:
    back = issuer.authorize(way_out(client))
    parts = urlsplit(back)
    assert client.head(f"{parts.path}?{parts.query}").status_code == 405
    assert come_back(client, back).status_code == 303


def test_signing_in_gives_a_new_session_and_ends_no_guess(issuer: FakeIssuer, client: PageClient) -> None:
    way = way_out(client)
    before = client.get_cookie("session")
    come_back(client, issuer.authorize(way))
    after = client.get_cookie("session")
    assert before is not None
    assert after is not None
    assert before.value != after.value


def test_nothing_of_the_issuers_tokens_is_kept(
    issuer: FakeIssuer, app: Flask, client: PageClient, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def keep(claims: dict[str, Any]) -> str:
        seen.append(issuer.sign(claims))
        return seen[-1]

    issuer.make_token = keep
    code = parse_qs(urlsplit(back := issuer.authorize(way_out(client))).query)["code"][0]
    answer = come_back(client, back)
    cookie = client.get_cookie("session")
    assert cookie is not None
    with app.app_context():
        tables = db.session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
        rows = json.dumps(
            [
                [str(row) for row in db.session.execute(text(f"SELECT t::text FROM {name} t"))]
                for name in tables
            ]
        )
    signature = seen[0].rpartition(".")[2]
    for secret in (signature, code, "a secret/of the tests"):
        assert secret not in rows
        assert secret not in answer.get_data(as_text=True) + str(answer.headers) + cookie.value
        assert secret not in caplog.text


def test_a_sign_in_long_ago_at_the_issuer_is_not_fresh_here(issuer: FakeIssuer, client: PageClient) -> None:
    issuer.age_seconds = 3600
    sign_in(client, issuer)
    token = client.token("/account/connected")
    answer = client.post(
        "/account/connected/link", data={"csrf_token": token}, headers={"Accept": "application/json"}
    )
    assert answer.json["error"]["code"] == "REAUTHENTICATION_REQUIRED"


def test_too_many_ways_out_from_one_address_are_slowed_down(issuer: FakeIssuer, client: PageClient) -> None:
    del issuer
    answers = [client.get("/auth/oidc/start").status_code for _ in range(31)]
    assert answers == [303] * 30 + [429]


def test_guesses_at_the_password_leave_this_way_open(
    issuer: FakeIssuer, app: Flask, client: PageClient, alice: Person
) -> None:
    connect(app, alice, issuer)
    wrong = {"email": alice.email, "password": "wrong wrong wrong"}
    assert [client.submit("/auth/login", **wrong).status_code for _ in range(11)][-1] == 429
    assert sign_in(client, issuer).status_code == 303


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
