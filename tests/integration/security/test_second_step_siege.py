"""Who knows the password alone guesses no more codes, and keeps its owner out of no browser they know (A75)."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask

from models.base import now
from services import factor_service
from services.errors import RateLimited
from tests.authenticator import Authenticator
from tests.clients import Api, PageClient, browser
from tests.factories import Person
from tests.integration.api import passkeys
from tests.integration.api.test_second_factor import challenge, code_of, enrolled, verify
from tests.integration.pages.desk import NEW_PASSWORD, is_signed_in, link_to, subjects, token_of
from tests.integration.security.guessing import events

pytestmark = pytest.mark.usefixtures("early_in_a_step")
MAIL = "Wrong codes after your password"
PAGE = "/auth/second-factor"


@pytest.fixture
def known(app: Flask, alice: Person) -> PageClient:
    """A browser in which Alice signed in before she had a second step."""
    client = browser(app)
    client.sign_in(alice)
    client.submit("/auth/logout")
    return client


def with_app(api: Api, person: Person) -> tuple[str, list[str]]:
    """The seed and the recovery codes of a new second step; setting it up was a try, which is given back."""
    made: tuple[str, list[str]] = enrolled(api, person)
    with api.app.app_context():
        factor_service.forgive_tries(person.id)
    return made


def wrong(secret: str) -> str:
    return f"{(int(code_of(secret)) + 1) % 10**6:06}"


def besiege(api: Api, person: Person, secret: str, *, tries: int = 6) -> list[int]:
    """So many wrong codes after the right password, by a program."""
    return [verify(api, challenge(api, person), code=wrong(secret)).status_code for _ in range(tries)]


def step(client: PageClient, person: Person, password: str | None = None, **fields: str) -> int:
    """Both steps by the forms; the status of the second."""
    client.submit("/auth/login", email=person.email, password=password or person.password)
    way = "?with=recovery-code" if "recovery_code" in fields else ""
    return client.submit(f"{PAGE}{way}", **fields).status_code


def reset(app: Flask, client: PageClient, person: Person) -> None:
    """A new password by the mailed link."""
    client.submit("/auth/forgot-password", email=person.email)
    link = link_to(app, person.email, "/auth/reset-password")
    client.get(link)
    done = client.submit("/auth/reset-password", token=token_of(link), password=NEW_PASSWORD)
    assert done.status_code == 303


def test_a_siege_keeps_no_owner_out_of_a_known_browser(api: Api, alice: Person, known: PageClient) -> None:
    secret, _ = with_app(api, alice)
    assert besiege(api, alice, secret) == [401] * 5 + [429]
    assert step(known, alice, code=code_of(secret)) == 303
    assert is_signed_in(known)


def test_a_recovery_code_works_in_a_known_browser_under_siege(
    api: Api, alice: Person, known: PageClient
) -> None:
    secret, codes = with_app(api, alice)
    besiege(api, alice, secret)
    assert step(browser(api.app), alice, recovery_code=codes[0]) == 429
    assert step(known, alice, recovery_code=codes[0]) == 303


def test_json_from_a_known_browser_counts_apart_too(api: Api, alice: Person, known: PageClient) -> None:
    secret, _ = with_app(api, alice)
    besiege(api, alice, secret)
    known.post("/auth/login", json={"email": alice.email, "password": alice.password})
    assert known.post(PAGE, json={"code": code_of(secret)}).status_code == 200


def test_confirming_by_code_in_a_known_browser_works_under_siege(
    app: Flask, api: Api, alice: Person, known: PageClient
) -> None:
    secret, codes = with_app(api, alice)
    assert step(known, alice, recovery_code=codes[0]) == 303
    besiege(api, alice, secret)
    done = known.submit("/auth/reauthenticate?with=code", "/auth/reauthenticate", code=code_of(secret))
    assert done.status_code == 303


def test_a_passkey_opens_what_is_besieged(api: Api, alice: Person) -> None:
    device: Authenticator = passkeys.owned(api, alice)
    with api.app.app_context():
        while_tries_last(alice)
    assert passkeys.sign_in(api, device).status_code == 200


def while_tries_last(person: Person, most: int = 300) -> int:
    """Spend tries from the device in use until one is refused; how many were not."""
    for done in range(most):
        try:
            factor_service.spend_try(person.id)
        except RateLimited:
            return done
    return most


def test_programs_and_unknown_browsers_are_counted_together(api: Api, alice: Person) -> None:
    secret, codes = with_app(api, alice)
    assert besiege(api, alice, secret) == [401] * 5 + [429]
    assert step(browser(api.app), alice, code=code_of(secret)) == 429
    caller = api.as_(alice)
    assert caller.post("/auth/reauthenticate", {"code": code_of(secret)}).status_code == 429
    assert verify(api, challenge(api, alice), recovery_code=codes[0]).status_code == 429


def test_a_known_browser_waits_for_its_own_wrong_codes(api: Api, alice: Person, known: PageClient) -> None:
    secret, _ = with_app(api, alice)
    assert [step(known, alice, code=wrong(secret)) for _ in range(6)] == [401] * 5 + [429]
    assert step(known, alice, code=code_of(secret)) == 429
    assert verify(api, challenge(api, alice), code=code_of(secret)).status_code == 200


def test_a_success_in_a_known_browser_gives_nobody_else_a_try(
    api: Api, alice: Person, known: PageClient
) -> None:
    secret, _ = with_app(api, alice)
    besiege(api, alice, secret)
    assert step(known, alice, code=code_of(secret)) == 303
    assert verify(api, challenge(api, alice), code=wrong(secret)).status_code == 429


def test_a_browser_known_to_somebody_else_is_unknown(api: Api, alice: Person, bob: Person) -> None:
    secret, _ = with_app(api, alice)
    client = browser(api.app)
    client.sign_in(bob)
    client.submit("/auth/logout")
    besiege(api, alice, secret)
    assert step(client, alice, code=code_of(secret)) == 429


def test_the_cookie_makes_no_program_known(api: Api, alice: Person, known: PageClient) -> None:
    secret, _ = with_app(api, alice)
    besiege(api, alice, secret)
    body = {"challenge_token": challenge(api, alice), "code": code_of(secret)}
    assert known.post("/api/v1/auth/login/verify", json=body).status_code == 429


def test_a_reset_by_mail_lets_the_owner_in_at_once(app: Flask, api: Api, alice: Person) -> None:
    secret, _ = with_app(api, alice)
    client = browser(app)
    besiege(api, alice, secret)
    assert step(client, alice, code=wrong(secret)) == 429
    reset(app, client, alice)
    assert step(client, alice, NEW_PASSWORD, code=code_of(secret)) == 303


def test_a_reset_by_mail_starts_the_count_of_unknown_devices_again(
    app: Flask, api: Api, alice: Person
) -> None:
    secret, _ = with_app(api, alice)
    besiege(api, alice, secret)
    reset(app, browser(app), alice)
    assert step(browser(app), alice, NEW_PASSWORD, code=code_of(secret)) == 303


def test_a_day_has_two_hundred_tries_however_many_devices_and_resets(app: Flask, alice: Person) -> None:
    start, done = now(), 0
    for hour in range(24):
        with time_machine.travel(start + timedelta(hours=hour), tick=False), app.app_context():
            done += while_tries_last(alice)
            factor_service.forgive_tries(alice.id)
            for _ in range(3):
                done += while_tries_last(alice)
                factor_service.forgive_tries(alice.id)
    assert done == 200
    with time_machine.travel(start + timedelta(hours=25), tick=False), app.app_context():
        assert while_tries_last(alice) == 5


def test_what_is_refused_uses_nothing_up_of_the_other_devices(app: Flask, alice: Person) -> None:
    with app.app_context():
        assert while_tries_last(alice) == 5
        assert [while_tries_last(alice, 1) for _ in range(250)] == [0] * 250
        factor_service.forgive_tries(alice.id)
        assert while_tries_last(alice) == 5


def test_of_the_fifth_wrong_code_the_owner_is_told_once(app: Flask, api: Api, alice: Person) -> None:
    secret, _ = with_app(api, alice)
    besiege(api, alice, secret, tries=4)
    assert MAIL not in subjects(app, alice.email)
    start = now()
    for minutes in (0, 6, 12):
        with time_machine.travel(start + timedelta(minutes=minutes)):
            besiege(api, alice, secret)
    assert subjects(app, alice.email).count(MAIL) == 1
    assert events(app, "account:factor:guessed") == 1
    with time_machine.travel(start + timedelta(hours=25)):
        besiege(api, alice, secret, tries=5)
    assert subjects(app, alice.email).count(MAIL) == 2


def test_the_mail_says_this_was_not_me(app: Flask, api: Api, alice: Person) -> None:
    secret, _ = with_app(api, alice)
    besiege(api, alice, secret)
    answer: Any = api.app.test_client().get("/dev/mail.json")
    told = next(mail for mail in answer.json if mail["subject"] == MAIL)
    assert "/auth/not-me?token=" in told["text"]


def test_who_mistypes_and_then_gets_in_is_told_nothing(app: Flask, api: Api, alice: Person) -> None:
    secret, codes = with_app(api, alice)
    for turn in range(2):
        besiege(api, alice, secret, tries=4)
        assert verify(api, challenge(api, alice), recovery_code=codes[turn]).status_code == 200
    assert MAIL not in subjects(app, alice.email)
