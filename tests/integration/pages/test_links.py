"""Mailed links: opening one changes nothing, its token leaves the address, it works once and only while it is good."""

import re
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from flask import Flask

from models import User, db
from models.base import now
from services.base_service import unit_of_work
from services.user_service import load
from tests.clients import Api, PageClient, browser
from tests.factories import PASSWORD, Person, make_person
from tests.integration.pages.desk import (
    NEW_PASSWORD,
    fingerprint,
    is_signed_in,
    link_to,
    mails_to,
    make_link,
    setup_token,
    subjects,
    token_of,
)

NEW_ADDRESS = "alice.new@example.com"
#: Page → how its token is made for somebody, and what its button sends beside the token.
PAGES: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "/auth/verify-email": ("verification", (), {}),
    "/auth/reset-password": ("reset", (), {"password": NEW_PASSWORD}),
    "/auth/confirm-email": ("email_change", (NEW_ADDRESS,), {}),
    "/auth/invitation": ("invitation", (), {"password": NEW_PASSWORD}),
}
each_page = pytest.mark.parametrize("page", PAGES)
LIVES = {
    "/auth/verify-email": 24 * 60,
    "/auth/reset-password": 30,
    "/auth/confirm-email": 24 * 60,
    "/auth/invitation": 72 * 60,
}


@pytest.fixture
def make(app: Flask) -> Callable[[str, Person], str]:
    """A token for a page and a person."""

    def make(page: str, person: Person) -> str:
        kind, rest, _ = PAGES[page]
        return make_link(app, person, kind, *rest)

    return make


Make = Callable[[str, Person], str]


def use(client: PageClient, page: str, token: str) -> int:
    """Send the page's form with this token."""
    csrf = client.token("/auth/login")
    return client.post(page, data={"csrf_token": csrf, "token": token, **PAGES[page][2]}).status_code


def at_once(app: Flask, page: str, *bodies: dict[str, str]) -> list[int]:
    """Two programs send at the same moment, the same or each its own; the sorted statuses."""
    ready, told = threading.Barrier(2), []

    def send(body: dict[str, str]) -> None:
        client = browser(app)
        ready.wait(timeout=10)
        told.append(client.post(page, json=body).status_code)

    threads = [threading.Thread(target=send, args=(body,)) for body in (bodies * 2)[:2]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    return sorted(told)


# ------------------------------------------------------------------------------------------------- every link


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
    assert "This link has had its day" in gone.text


@each_page
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
    client.sign_in(bob)
    client.get(page, query_string={"token": make(page, alice)}, follow_redirects=True)
    assert bob.name in client.get("/dashboard").text
    use(client, page, make(page, alice))
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
    alice = make_person(app, "Alice Lindqvist")
    for page in PAGES:
        assert at_once(app, page, {"token": make(page, alice), **PAGES[page][2]}) == [200, 410]


# ---------------------------------------------------------------------------------------- forgotten passwords


def test_a_forgotten_password_is_reset_and_every_session_ends(
    app: Flask, client: PageClient, api: Api, alice: Person
) -> None:
    client.sign_in(alice)
    caller = api.as_(alice)
    pair = api.post("/auth/login", {"email": alice.email, "password": alice.password}).json["data"]
    visitor = browser(app)
    asked = visitor.submit("/auth/forgot-password", email=alice.email)
    assert (asked.status_code, asked.location) == (303, "/auth/forgot-password/sent")
    visitor.get(link_to(app, alice.email, "/auth/reset-password"))
    token = re.search(r'name="token" value="([^"]+)"', visitor.get("/auth/reset-password").text)
    assert token
    reset = visitor.submit("/auth/reset-password", token=token[1], password=NEW_PASSWORD)
    assert (reset.status_code, reset.location) == (303, "/auth/login")
    assert "Your new password is saved." in visitor.get("/auth/login").text

    assert not is_signed_in(visitor), "nobody is signed in by a mail"
    assert not is_signed_in(client)
    assert caller.get("/users/me").status_code == 401
    assert api.post("/auth/refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401
    assert "Your password was changed" in subjects(app, alice.email)
    assert client.submit("/auth/login", email=alice.email, password=PASSWORD).status_code == 401
    assert client.submit("/auth/login", email=alice.email, password=NEW_PASSWORD).status_code == 303


@pytest.mark.parametrize("password", ["short", "passwordpassword", "alice lindqvist", "aaaaaaaaaaaa", ""])
@pytest.mark.parametrize("page", ["/auth/reset-password", "/auth/invitation"])
def test_a_weak_password_is_refused_and_the_link_stays_good(
    app: Flask, client: PageClient, make: Make, page: str, password: str, alice: Person
) -> None:
    token = make(page, alice)
    before = fingerprint(app)
    client.get(page, query_string={"token": token})
    refused = client.submit(page, token=token, password=password)
    assert refused.status_code == 422
    assert 'id="password-error"' in refused.text
    assert f'name="token" value="{token}"' in refused.text
    assert fingerprint(app) == before
    assert client.submit(page, token=token, password=NEW_PASSWORD).status_code == 303


def test_a_reset_by_json(app: Flask, client: PageClient, alice: Person) -> None:
    assert client.post("/auth/forgot-password", json={"email": alice.email}).status_code == 202
    token = token_of(link_to(app, alice.email, "/auth/reset-password"))
    weak = client.post("/auth/reset-password", json={"token": token, "password": "short"})
    assert (weak.status_code, weak.json["error"]["code"]) == (422, "WEAK_PASSWORD")
    assert (
        client.post("/auth/reset-password", json={"token": token, "password": NEW_PASSWORD}).status_code
        == 200
    )


@pytest.mark.parametrize("email", [["victim@example.com", "eve@example.com"], {"a": 1}, None, 1, ""])
def test_a_reset_goes_to_one_address_that_is_one(
    app: Flask, client: PageClient, alice: Person, email: object
) -> None:
    before = fingerprint(app)
    assert client.post("/auth/forgot-password", json={"email": email}).status_code == 422
    assert fingerprint(app) == before


def test_the_mail_goes_to_the_stored_spelling(app: Flask, client: PageClient, alice: Person) -> None:
    client.submit("/auth/forgot-password", email=alice.email.upper())
    assert len(mails_to(app, alice.email)) == 1
    assert not mails_to(app, alice.email.upper())


def test_a_forged_host_is_in_no_link(app: Flask, client: PageClient, alice: Person) -> None:
    for headers in ({"X-Forwarded-Host": "evil.example"}, {"Forwarded": "host=evil.example"}):
        client.post("/auth/forgot-password", json={"email": alice.email}, headers=headers)
    assert (
        client.post(
            "/auth/forgot-password", json={"email": alice.email}, headers={"Host": "evil.example"}
        ).status_code
        == 400
    )
    assert all("evil" not in mail.text + mail.html for mail in mails_to(app, alice.email))


def test_five_mails_a_day_and_always_the_same_answer(app: Flask, client: PageClient, alice: Person) -> None:
    for _ in range(8):
        assert client.post("/auth/forgot-password", json={"email": alice.email}).status_code == 202
    assert len(mails_to(app, alice.email)) == 5


def test_a_changed_password_ends_the_links(app: Flask, client: PageClient, make: Make, alice: Person) -> None:
    token = make("/auth/reset-password", alice)
    client.sign_in(alice)
    client.submit("/account/password", current_password=alice.password, new_password=NEW_PASSWORD)
    assert use(client, "/auth/reset-password", token) == 410


# ----------------------------------------------------------------------------------- invitations, first start


def test_an_invitation_greets_and_sets_the_first_password(
    app: Flask, client: PageClient, api: Api, ada: Person
) -> None:
    body = {"email": "ian@example.com", "name": "Ian Vetch"}
    assert api.as_(ada).post("/users", body).status_code == 201
    page = client.get(link_to(app, "ian@example.com", "/auth/invitation"), follow_redirects=True)
    assert "Welcome, Ian Vetch" in page.text
    assert "ian@example.com" in page.text
    token = re.search(r'name="token" value="([^"]+)"', page.text)
    assert token
    done = client.submit("/auth/invitation", token=token[1], password=NEW_PASSWORD)
    assert (done.status_code, done.location) == (303, "/auth/login")
    assert (
        client.submit("/auth/login", email="ian@example.com", password=NEW_PASSWORD).location == "/dashboard"
    )


ADA = {"name": "Ada Okonkwo", "email": "ada@example.com", "password": PASSWORD}


def test_the_setup_link_makes_the_first_administrator_and_signs_in(app: Flask, client: PageClient) -> None:
    token = setup_token(app)
    client.get("/auth/setup", query_string={"token": token})
    done = client.submit("/auth/setup", token=token, **ADA)
    assert (done.status_code, done.location) == (303, "/dashboard")
    assert client.get("/admin/users").status_code == 200
    with app.app_context():
        made = db.session.query(User).filter_by(email="ada@example.com").one()
    assert (made.role, made.email_verified) == ("admin", True)
    again = browser(app)
    assert again.get("/auth/setup", query_string={"token": token}).status_code == 410


def test_a_wrong_setup_form_is_shown_again_and_the_link_stays_good(app: Flask, client: PageClient) -> None:
    token = setup_token(app)
    client.get("/auth/setup", query_string={"token": token})
    refused = client.submit("/auth/setup", token=token, **{**ADA, "password": "short", "email": "x"})
    assert refused.status_code == 422
    assert 'value="Ada Okonkwo"' in refused.text
    weak = client.submit("/auth/setup", token=token, **{**ADA, "password": "short"})
    assert 'id="password-error"' in weak.text
    assert client.submit("/auth/setup", token=token, **ADA).status_code == 303


def test_the_setup_link_is_dead_once_there_is_an_administrator(
    app: Flask, client: PageClient, ada: Person
) -> None:
    token = setup_token(app)
    assert client.get("/auth/setup", query_string={"token": token}).status_code == 410
    fields = {"csrf_token": client.token(), "token": token, **ADA}
    assert client.post("/auth/setup", data=fields).status_code == 410
    assert client.post("/auth/setup", json={"token": token, **ADA}).status_code == 410


def test_setup_by_json_gives_the_session(app: Flask, client: PageClient) -> None:
    answer = client.post("/auth/setup", json={"token": setup_token(app), **ADA})
    assert (answer.status_code, answer.json["data"]["user"]["role"]) == (200, "admin")
    assert is_signed_in(client)


@pytest.mark.parametrize("page", [*PAGES, "/auth/setup"])
def test_without_any_link_the_page_says_so(client: PageClient, page: str) -> None:
    is_typed_too = page == "/auth/verify-email"
    assert client.get(page).status_code == (200 if is_typed_too else 410)
    answer = client.post(page, data={"csrf_token": client.token(), **PAGES.get(page, ("", (), ADA))[2]})
    assert answer.status_code == (422 if is_typed_too else 410)


# --------------------------------------------------------------------------------------- another mail address


def test_a_new_address_counts_once_its_link_is_used(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    client.submit("/account/email", email=NEW_ADDRESS, current_password=alice.password)
    page = client.get(link_to(app, NEW_ADDRESS, "/auth/confirm-email"), follow_redirects=True)
    assert NEW_ADDRESS in page.text
    assert alice.email in client.get("/dashboard").text, "until then the former stays"
    token = re.search(r'name="token" value="([^"]+)"', page.text)
    assert token
    done = client.submit("/auth/confirm-email", token=token[1])
    assert (done.status_code, done.location) == (303, "/dashboard")
    assert NEW_ADDRESS in client.get("/dashboard").text
    visitor = browser(app)
    assert visitor.submit("/auth/login", email=alice.email, password=alice.password).status_code == 401
    assert visitor.submit("/auth/login", email=NEW_ADDRESS, password=alice.password).status_code == 303


def test_an_address_that_was_taken_meanwhile_is_told(
    app: Flask, client: PageClient, make: Make, alice: Person
) -> None:
    token = make("/auth/confirm-email", alice)
    make_person(app, "Quick Fox", email=NEW_ADDRESS)
    client.get("/auth/confirm-email", query_string={"token": token})
    refused = client.submit("/auth/confirm-email", token=token)
    assert refused.status_code == 409
    assert "Another account uses this e-mail address." in refused.text
    assert client.post("/auth/confirm-email", json={"token": token}).json["error"]["code"] == "EMAIL_TAKEN"


@pytest.mark.real_database
def test_two_who_confirm_one_address_at_once(app: Flask) -> None:
    people = [make_person(app, name) for name in ("Alice Lindqvist", "Bob Castellanos")]
    bodies = [{"token": make_link(app, person, "email_change", NEW_ADDRESS)} for person in people]
    assert at_once(app, "/auth/confirm-email", *bodies) == [200, 409]
