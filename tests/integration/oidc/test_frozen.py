"""A frozen account is not opened from elsewhere: the attacker may have connected the account there."""

from flask import Flask

from models.base import now
from tests.clients import Api, browser
from tests.factories import Person, make_person
from tests.integration.oidc.desk import connect, identities, run, sign_in
from tests.integration.pages.desk import is_signed_in
from tests.issuer import FakeIssuer


def test_the_issuer_opens_no_frozen_account(issuer: FakeIssuer, app: Flask) -> None:
    alice = make_person(app, "Alice", email="alice@example.com", frozen_at=now())
    client = browser(app)
    joined = sign_in(client, issuer)
    assert identities(app) == []
    connect(app, alice, issuer)
    linked = sign_in(client, issuer)
    assert joined.status_code == linked.status_code == 403
    assert not is_signed_in(client)


def test_the_issuers_access_token_is_worth_nothing_for_a_frozen_account(
    issuer: FakeIssuer, app: Flask, alice: Person
) -> None:
    connect(app, alice, issuer)
    caller = Api(app, issuer.access_token())
    assert caller.get("/users/me").status_code == 200
    run(app, "UPDATE users SET frozen_at = now()")
    assert caller.get("/users/me").status_code == 401
