"""An address at the issuer opens the account of that mailbox, and of no other that some program takes for it."""

import pytest
from flask import Flask

from tests.clients import PageClient
from tests.factories import make_person
from tests.integration.oidc.desk import column, identities, sign_in
from tests.integration.pages.desk import is_signed_in
from tests.issuer import FakeIssuer
from tests.state import unchanged

MIKE = "mike@example.com"


def test_a_dotted_capital_i_opens_no_other_account(
    issuer: FakeIssuer, app: Flask, client: PageClient
) -> None:
    mike = make_person(app, "Mike Mulligan", email=MIKE)
    issuer.who.email = "m\u0130ke@example.com"
    assert sign_in(client, issuer).status_code == 303
    ((user_id, _, _),) = identities(app)
    assert user_id != mike.id
    assert column(app, user_id, "email") == "m\u0130ke@example.com"


@pytest.mark.parametrize(
    "email",
    [
        "mi\u212ae@example.com",
        "mi\u3164ke@example.com",
        "=?utf-8?q?mike?=@example.com",
        "\u3000mike@example.com",
    ],
)
def test_an_address_that_is_read_as_another_opens_and_makes_nothing(
    issuer: FakeIssuer, app: Flask, client: PageClient, email: str
) -> None:
    make_person(app, "Mike Mulligan", email=MIKE)
    issuer.who.email = email
    with unchanged(app, but=("audit_events",)):
        assert sign_in(client, issuer).status_code == 403
    assert not is_signed_in(client)


@pytest.mark.parametrize("email", ["MIKE@Example.com", "mike@\uff45xample.com"])
def test_another_spelling_opens_the_same_account(
    issuer: FakeIssuer, app: Flask, client: PageClient, email: str
) -> None:
    mike = make_person(app, "Mike Mulligan", email=MIKE)
    issuer.who.email = email
    assert sign_in(client, issuer).status_code == 303
    assert [row[0] for row in identities(app)] == [mike.id]
    assert MIKE in client.get("/account/connected").get_data(as_text=True)


@pytest.mark.parametrize(
    "name", ["\u200b", "\u3164\u2800", "\u0301", "\U000e0041", "a\x00b", "e\u0301" * 1500]
)
def test_a_name_that_shows_nothing_gives_way_to_the_address(
    issuer: FakeIssuer, app: Flask, client: PageClient, name: str
) -> None:
    issuer.who.name = name
    assert sign_in(client, issuer).status_code == 303
    assert column(app, identities(app)[0][0], "name") == "alice"
