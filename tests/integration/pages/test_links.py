"""Mailed links: opening one changes nothing, its token leaves the address, it works once and only while it is good."""

from datetime import timedelta

import pytest
import time_machine
from flask import Flask

from models.base import now
from services.base_service import unit_of_work
from services.user_service import load
from tests.clients import PageClient, browser
from tests.factories import Person, make_person
from tests.integration.pages.desk import fingerprint
from tests.integration.pages.links import PAGES, SIGNED_IN, Make, at_once, use

each_page = pytest.mark.parametrize("page", PAGES)
LIVES = {
    "/auth/verify-email": 24 * 60,
    "/auth/reset-password": 30,
    "/auth/confirm-email": 24 * 60,
    "/auth/invitation": 72 * 60,
    "/auth/not-me": 7 * 24 * 60,
}


@each_page
def test_the_token_leaves_the_address_and_the_page_keeps_it(
    client: PageClient, make: Make, page: str, alice: Person
) -> None:
    token = make(page, alice)
    opened = client.get(page, query_string={"token": token})
    assert (opened.status_code, opened.location) == (303, page)
    assert token not in str(opened.headers.get("Location"))
    shown = client.get(page)
    assert shown.status_code == 200
    assert f'name="token" value="{token}"' in shown.text
    assert shown.headers["Cache-Control"] == "no-store"
    assert shown.headers["Referrer-Policy"] == "same-origin"
    assert client.get(page).status_code == 200, "reloading shows it again"


@each_page
def test_opening_a_link_changes_nothing(
    app: Flask, client: PageClient, make: Make, page: str, alice: Person
) -> None:
    token = make(page, alice)
    before = fingerprint(app)
    for method in ("GET", "HEAD", "GET"):
        client.open(page, method=method, query_string={"token": token}, follow_redirects=method == "GET")
    browser(app).get(page, query_string={"token": token})
    assert fingerprint(app) == before
    assert use(client, page, token) == 303


@each_page
def test_a_link_works_once(client: PageClient, make: Make, page: str, alice: Person) -> None:
    token = make(page, alice)
    assert use(client, page, token) == 303
    assert use(client, page, token) == 410
    gone = client.get(page, query_string={"token": token})
    assert gone.status_code == 410
    assert "This link no longer works" in gone.text


# Every security mail has its own, and so has every registration.
@pytest.mark.parametrize("page", sorted(PAGES.keys() - {"/auth/not-me", "/auth/verify-email"}))
def test_a_newer_link_replaces_the_former(client: PageClient, make: Make, page: str, alice: Person) -> None:
    former, newer = make(page, alice), make(page, alice)
    assert client.get(page, query_string={"token": former}).status_code == 410
    assert use(client, page, former) == 410
    assert use(client, page, newer) == 303


@each_page
def test_a_link_expires(client: PageClient, make: Make, page: str, alice: Person) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        token = make(page, alice)
        clock.shift(timedelta(minutes=LIVES[page], seconds=-1))
        assert client.get(page, query_string={"token": token}).status_code == 303
        clock.shift(1)
        assert client.get(page).status_code == 410
        assert use(client, page, token) == 410


@each_page
def test_a_link_of_a_suspended_account_is_dead(
    app: Flask, client: PageClient, make: Make, page: str, alice: Person
) -> None:
    token = make(page, alice)
    with app.app_context(), unit_of_work():
        user = load(alice.id)
        user.is_active, user.suspended_at = False, now()
    assert client.get(page, query_string={"token": token}).status_code == 410
    assert use(client, page, token) == 410


@each_page
def test_a_token_is_good_for_its_own_page_alone(
    client: PageClient, make: Make, page: str, alice: Person
) -> None:
    for other in PAGES:
        if other != page:
            assert use(client, page, make(other, alice)) == 410


@each_page
@pytest.mark.parametrize("token", ["x", "é", "a" * 600, "../..", "' OR 1=1", "%00"])
def test_a_made_up_token_is_dead(client: PageClient, page: str, token: str) -> None:
    assert client.get(page, query_string={"token": token}).status_code == 410
    assert use(client, page, token) in {410, 422}


@each_page
def test_a_program_is_told_in_the_envelope(client: PageClient, page: str) -> None:
    answer = client.post(page, json={"token": "x", **PAGES[page][2]})
    assert (answer.status_code, answer.json["error"]["code"]) == (410, "LINK_EXPIRED")


@each_page
def test_a_dead_link_is_told_once_and_then_forgotten(
    client: PageClient, make: Make, page: str, alice: Person
) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        client.get(page, query_string={"token": make(page, alice)})
        clock.shift(timedelta(days=8))
        assert client.get(page).status_code == 410
        assert client.get("/auth/verify-email").status_code == 200, "the code can be typed again"


@each_page
def test_somebody_elses_link_switches_no_session(
    client: PageClient, make: Make, page: str, alice: Person, bob: Person
) -> None:
    token = make(page, alice)
    client.sign_in(bob)
    client.get(page, query_string={"token": token}, follow_redirects=True)
    assert bob.name in client.get("/dashboard").text
    use(client, page, token)
    assert bob.name in client.get("/dashboard").text


@each_page
def test_with_strict_cookies_the_page_shows_at_once(
    app: Flask, client: PageClient, make: Make, page: str, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "SESSION_COOKIE_SAMESITE", "Strict")
    token = make(page, alice)
    shown = client.get(page, query_string={"token": token})
    assert shown.status_code == 200
    assert f'name="token" value="{token}"' in shown.text


@pytest.mark.real_database
def test_two_at_once_use_a_link_once(app: Flask, make: Make) -> None:
    for page in PAGES:
        alice = make_person(app, "Alice Lindqvist")
        token = make(page, alice)
        people = [alice] if page in SIGNED_IN else []
        assert at_once(app, page, {"token": token, **PAGES[page][2]}, people=people) == [200, 410]
