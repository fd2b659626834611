"""A lock-out is no weapon (A18): whoever guesses makes unknown devices wait, and keeps no owner out."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import update

from models import db
from models.base import now
from models.device import KnownDevice
from services.base_service import unit_of_work
from tests.authenticator import Authenticator
from tests.clients import Api, PageClient, browser
from tests.factories import Person
from tests.integration.api import passkeys
from tests.integration.pages.desk import NEW_PASSWORD, link_to, subjects, token_of
from tests.integration.security.guessing import WRONG, besiege, failures, guess, guesses, sign_in


@pytest.mark.parametrize("tries", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_thousand_tries_from_two_hundred_addresses_keep_no_owner_out(
    api: Api, client: PageClient, alice: Person, tries: int
) -> None:
    client.sign_in(alice)
    client.submit("/auth/logout")
    besiege(api, alice.email, tries=tries, addresses=200)
    assert sign_in(browser(api.app), alice) == 429
    assert sign_in(client, alice) == 303


@pytest.mark.usefixtures("early_in_a_step")
def test_a_passkey_opens_what_is_besieged(api: Api, alice: Person) -> None:
    device: Authenticator = passkeys.owned(api, alice)
    besiege(api, alice.email)
    assert passkeys.sign_in(api, device).status_code == 200


def test_a_reset_link_opens_what_is_besieged(app: Flask, api: Api, client: PageClient, alice: Person) -> None:
    client.submit("/auth/forgot-password", email=alice.email)
    besiege(api, alice.email)
    link = link_to(app, alice.email, "/auth/reset-password")
    client.get(link)
    done = client.submit("/auth/reset-password", token=token_of(link), password=NEW_PASSWORD)
    assert done.status_code == 303
    besiege(api, alice.email)  # it does not stop for that
    assert sign_in(client, alice, NEW_PASSWORD) == 303
    assert sign_in(browser(app), alice, NEW_PASSWORD) == 429


def test_a_reset_starts_every_count_anew(app: Flask, api: Api, client: PageClient, alice: Person) -> None:
    client.submit("/auth/forgot-password", email=alice.email)
    token = token_of(link_to(app, alice.email, "/auth/reset-password"))
    besiege(api, alice.email)
    answer = api.post("/auth/password/reset", {"token": token, "password": NEW_PASSWORD})
    assert answer.status_code == 200
    assert failures(app) == []
    assert guess(api, alice.email, NEW_PASSWORD).status_code == 200


def test_a_neighbour_who_guesses_keeps_no_known_device_out(
    api: Api, client: PageClient, alice: Person
) -> None:
    """Behind one address, at the limit of failures for it."""
    client.sign_in(alice)
    client.submit("/auth/logout")
    codes = [guess(api, f"other{n}@example.com", address="127.0.0.1").status_code for n in range(21)]
    assert codes[-1] == 429
    assert sign_in(browser(api.app), alice) == 429
    assert sign_in(client, alice) == 303


# --------------------------------------------------------------------------------- each device by itself


def test_a_known_device_waits_for_its_own_failures(api: Api, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    client.submit("/auth/logout")
    tries = [sign_in(client, alice, WRONG) for _ in range(11)]
    assert tries == [401] * 10 + [429]
    assert sign_in(client, alice) == 429
    assert failures(api.app) == [10]
    assert sign_in(browser(api.app), alice) == 303


def test_a_success_at_home_gives_those_who_guess_no_more_tries(
    api: Api, client: PageClient, alice: Person
) -> None:
    client.sign_in(alice)
    client.submit("/auth/logout")
    assert guesses(api, alice.email, 10) == [401] * 10
    sign_in(client, alice, WRONG)
    assert failures(api.app) == [10, 1]
    assert sign_in(client, alice) == 303
    assert failures(api.app) == [10]
    assert guess(api, alice.email).status_code == 429


def test_a_success_elsewhere_forgives_no_known_device(api: Api, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    client.submit("/auth/logout")
    for _ in range(3):
        sign_in(client, alice, WRONG)
    guesses(api, alice.email, 2)
    assert guess(api, alice.email, alice.password).status_code == 200
    assert failures(api.app) == [3]


# ------------------------------------------------------------------------------ who only says he is known


def test_a_device_known_to_another_account_is_unknown_here(
    app: Flask, api: Api, client: PageClient, alice: Person, bob: Person
) -> None:
    client.sign_in(bob)
    client.submit("/auth/logout")
    besiege(api, alice.email)
    assert sign_in(client, alice) == 429
    assert failures(app) == [10]


@pytest.mark.parametrize("value", ["a" * 43, "", "x", "curl/8", "A" * 42 + "="])
def test_a_cookie_of_ones_own_making_is_unknown(api: Api, alice: Person, value: str) -> None:
    besiege(api, alice.email)
    client = browser(api.app)
    client.set_cookie("device", value)
    assert sign_in(client, alice) == 429


def test_a_program_that_signed_in_before_is_unknown(api: Api, alice: Person) -> None:
    body = {"email": alice.email, "password": alice.password, "device_name": "backup"}
    assert api.post("/auth/login", body).status_code == 200
    besiege(api, alice.email)
    assert api.post("/auth/login", body).status_code == 429


def test_the_cookie_makes_no_program_known(api: Api, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    besiege(api, alice.email)
    body = {"email": alice.email, "password": alice.password}
    assert client.post("/api/v1/auth/login", json=body).status_code == 429


def test_a_wrong_password_makes_no_device_known_however_often(api: Api, alice: Person) -> None:
    client = browser(api.app)
    for _ in range(5):
        sign_in(client, alice, WRONG)
    guesses(api, alice.email, 5)
    assert sign_in(client, alice) == 429


def test_a_device_of_half_a_year_ago_is_unknown(api: Api, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    client.submit("/auth/logout")
    with api.app.app_context(), unit_of_work():
        db.session.execute(update(KnownDevice).values(last_used_at=now() - timedelta(days=181)))
    besiege(api, alice.email)
    assert sign_in(client, alice) == 429


def test_a_reset_makes_known_only_the_browser_that_did_it(
    app: Flask, client: PageClient, alice: Person
) -> None:
    client.submit("/auth/forgot-password", email=alice.email)
    link = link_to(app, alice.email, "/auth/reset-password")
    client.get(link)
    refused = client.submit("/auth/reset-password", token=token_of(link), password="short")
    assert refused.status_code == 422
    assert client.get_cookie("device") is None
    client.submit("/auth/reset-password", token=token_of(link), password=NEW_PASSWORD)
    assert client.get_cookie("device") is not None
    assert subjects(app, alice.email) == ["Set a new password", "Your password was changed"]
