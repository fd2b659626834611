"""The second step after signing in elsewhere: when it is asked, and what proves it already (security case A91)."""

from datetime import timedelta
from typing import Any

import pyotp
import pytest
from flask import Flask

from models.base import now
from tests.clients import Api, PageClient
from tests.factories import Person
from tests.integration.oidc.desk import connect, sign_in
from tests.integration.pages.desk import is_signed_in
from tests.issuer import FakeIssuer

pytestmark = pytest.mark.usefixtures("early_in_a_step")


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
