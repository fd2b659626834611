"""Signing in with an issuer: where it is offered, and what it gives and leaves behind."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from sqlalchemy import text

from models import db
from tests.clients import PageClient
from tests.factories import Person
from tests.integration.oidc.desk import come_back, connect, sign_in, way_out
from tests.integration.pages.desk import is_signed_in
from tests.issuer import FakeIssuer
from tests.state import unchanged

pytestmark = pytest.mark.usefixtures("early_in_a_step")


def without_auth_time(claims: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if name != "auth_time"}


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


def test_the_secret_goes_where_the_issuer_takes_it(issuer: FakeIssuer, client: PageClient) -> None:
    issuer.metadata_changes = {"token_endpoint_auth_methods_supported": ["client_secret_basic"]}
    assert sign_in(client, issuer).status_code == 303


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


@pytest.mark.parametrize("auth_time", [0, -1, 0.5, "1", None, True, [], 10**11, 1e300])
def test_an_odd_time_of_the_sign_in_is_refused(
    issuer: FakeIssuer, client: PageClient, auth_time: object
) -> None:
    issuer.claim_changes = lambda claims: {**claims, "auth_time": auth_time}
    assert sign_in(client, issuer).status_code == 401
    assert not is_signed_in(client)


def test_a_sign_in_in_the_future_is_refused(issuer: FakeIssuer, client: PageClient) -> None:
    issuer.age_seconds = -60
    assert sign_in(client, issuer).status_code == 401


def test_an_issuer_that_does_not_tell_when_makes_no_fresh_session(
    issuer: FakeIssuer, app: Flask, client: PageClient, alice: Person
) -> None:
    connect(app, alice, issuer)
    issuer.claim_changes = without_auth_time
    assert sign_in(client, issuer).headers["Location"] == "/dashboard"
    for path in ("/account/api-keys", "/account/security/app/start"):
        with unchanged(app, but=("sessions",)):
            answer = client.post(path, data={"csrf_token": client.token("/account/connected")})
        assert answer.headers["Location"].startswith("/auth/reauthenticate"), path
    client.submit("/auth/reauthenticate", password=alice.password)
    assert client.get("/account/api-keys").status_code == 200


def test_a_newcomer_of_such_an_issuer_has_no_fresh_session_either(
    issuer: FakeIssuer, client: PageClient
) -> None:
    issuer.claim_changes = without_auth_time
    assert sign_in(client, issuer).headers["Location"] == "/dashboard"
    assert client.get("/account/api-keys").headers["Location"].startswith("/auth/reauthenticate")


def test_guesses_at_the_password_leave_this_way_open(
    issuer: FakeIssuer, app: Flask, client: PageClient, alice: Person
) -> None:
    connect(app, alice, issuer)
    wrong = {"email": alice.email, "password": "wrong wrong wrong"}
    assert [client.submit("/auth/login", **wrong).status_code for _ in range(11)][-1] == 429
    assert sign_in(client, issuer).status_code == 303
