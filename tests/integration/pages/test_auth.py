"""Signing in: forms, programs, and refusals that tell nothing."""

import pytest
from flask import Flask

from models.base import now
from tests.clients import Api, PageClient, browser
from tests.conftest import counted
from tests.factories import PASSWORD, Person, make_person
from tests.integration.pages.desk import NEW_PASSWORD, fingerprint, is_signed_in, text_of

JSON = {"Accept": "application/json"}


@pytest.fixture
def dora(app: Flask) -> Person:
    """Dora has registered and not confirmed her address."""
    return make_person(app, "Dora Quist", email="dora@example.com", email_verified=False)


@pytest.fixture
def eve(app: Flask) -> Person:
    """Eve is suspended."""
    suspended = {"is_active": False, "suspended_at": now(), "suspension_reason": "Spam"}
    return make_person(app, "Eve Adler", **suspended)


def test_a_person_signs_in_and_comes_to_the_dashboard(client: PageClient, alice: Person) -> None:
    answer = client.sign_in(alice)
    assert (answer.status_code, answer.location) == (303, "/dashboard")
    assert "Hello, Alice Lindqvist" in client.get("/dashboard").text


def test_whatever_the_case_of_the_address(client: PageClient, alice: Person) -> None:
    answer = client.submit("/auth/login", email=alice.email.upper(), password=alice.password)
    assert answer.location == "/dashboard"


def test_a_program_gets_the_envelope_and_the_cookie(client: PageClient, alice: Person) -> None:
    answer = client.post("/auth/login", json={"email": alice.email, "password": alice.password})
    assert answer.status_code == 200
    assert answer.json["data"]["status"] == "signed_in"
    assert answer.json["data"]["user"]["email"] == alice.email
    assert client.get("/auth/profile", headers=JSON).json["data"]["name"] == alice.name


def test_the_cookie_opens_no_api(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    assert client.get("/api/v1/users/me").status_code == 401


def test_a_bearer_token_opens_no_page(app: Flask, client: PageClient, api: Api, alice: Person) -> None:
    token = api.as_(alice).token
    answer = client.get("/dashboard", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.location) == (303, "/auth/login?next=/dashboard")


@pytest.mark.parametrize(
    "reason", ["unknown", "wrong password", "suspended", "unverified", "without password"]
)
def test_every_reason_to_refuse_a_sign_in_looks_the_same(
    app: Flask, reason: str, alice: Person, dora: Person, eve: Person
) -> None:
    invited = make_person(app, "Ian Vetch", password_hash=None)
    tries = {
        "unknown": ("nobody@example.com", PASSWORD),
        "wrong password": (alice.email, NEW_PASSWORD),
        "suspended": (eve.email, eve.password),
        "unverified": (dora.email, NEW_PASSWORD),
        "without password": (invited.email, PASSWORD),
    }
    told = [_refused(browser(app), *tries[reason]), _refused(browser(app), "x@example.com", "x")]
    assert told[0] == told[1]


def _refused(client: PageClient, email: str, password: str) -> tuple[object, ...]:
    form = client.submit("/auth/login", email=email, password=password)
    json = client.post("/auth/login", json={"email": email, "password": password})
    assert (form.status_code, json.status_code) == (401, 401)
    assert json.json["error"]["code"] == "INVALID_CREDENTIALS"
    assert not is_signed_in(client)
    names = sorted(form.headers.keys()), sorted(json.headers.keys())
    return names, text_of(form).replace(email, ""), text_of(json)


def test_a_refused_sign_in_says_who_is_asked_for(client: PageClient, alice: Person) -> None:
    refused = client.submit("/auth/login", email=alice.email, password="wrong")
    assert refused.headers["WWW-Authenticate"]
    assert "The e-mail address or the password is wrong." in refused.text
    assert f'value="{alice.email}"' in refused.text


@pytest.mark.parametrize(
    "password",
    [123456, True, None, [], {"$ne": ""}, "", "x" * 257, "nul\x00"],
    ids=lambda value: repr(value)[:12],
)
def test_a_password_that_is_none_is_invalid_and_named(
    client: PageClient, alice: Person, password: object
) -> None:
    refused = client.post("/auth/login", json={"email": alice.email, "password": password})
    assert refused.status_code == 422
    assert refused.json["error"]["details"]["field"] == "password"


def test_an_unverified_address_is_told_only_to_who_knows_the_password(
    client: PageClient, dora: Person
) -> None:
    refused = client.submit("/auth/login", email=dora.email, password=dora.password)
    assert refused.status_code == 403
    assert "Confirm your e-mail address first" in refused.text
    assert not is_signed_in(client)
    json = client.post("/auth/login", json={"email": dora.email, "password": dora.password})
    assert json.json["error"]["details"]["reason"] == "email_not_verified"


def test_verification_can_be_optional(
    app: Flask, client: PageClient, dora: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "EMAIL_VERIFICATION", "optional")
    assert client.sign_in(dora).location == "/dashboard"
    assert "Your address is not confirmed" in client.get("/dashboard").text


def test_optional_verification_keeps_nobody_waiting(
    app: Flask, client: PageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = {"name": "Finn Berg", "email": "finn.berg@example.com", "password": "violet harbour lantern six"}
    client.submit("/auth/register", **form)
    assert "sign in</a> now" not in client.get("/auth/check-mail").text
    monkeypatch.setitem(app.config, "EMAIL_VERIFICATION", "optional")
    assert "sign in</a> now" in client.get("/auth/check-mail").text
    signed_in = client.submit("/auth/login", email=form["email"], password=form["password"])
    assert signed_in.location == "/dashboard"


def test_the_eleventh_try_waits_and_the_right_password_too(client: PageClient, alice: Person) -> None:
    tries = [client.submit("/auth/login", email=alice.email, password="wrong") for _ in range(11)]
    assert [answer.status_code for answer in tries] == [401] * 10 + [429]
    form = client.sign_in(alice)
    json = client.post("/auth/login", json={"email": alice.email, "password": alice.password})
    assert (form.status_code, json.status_code) == (429, 429)
    assert int(form.headers["Retry-After"]) > 0
    assert "Too many attempts. Try again in " in form.text
    assert "Nobody is locked out" in form.text
    assert f'value="{alice.email}"' in form.text
    assert alice.password not in form.text


def test_a_sign_in_is_in_the_history_with_address_and_device(client: PageClient, alice: Person) -> None:
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    client.post(
        "/auth/login",
        data={"csrf_token": client.token(), "email": alice.email, "password": alice.password},
        headers={"User-Agent": agent},
    )
    page = client.get("/account/history").text
    assert "Signed in" in page
    assert "Firefox on Linux" in page
    assert "127.0.0.1" in page


def test_profile_leads_people_to_their_page_and_strangers_to_the_form(
    client: PageClient, alice: Person
) -> None:
    assert client.get("/auth/profile").location == "/auth/login?next=/auth/profile"
    assert client.get("/auth/profile", headers=JSON).status_code == 401
    client.sign_in(alice)
    assert client.get("/auth/profile").location == "/account/profile"


def test_a_sign_in_form_costs_no_statement(client: PageClient) -> None:
    client.get("/auth/login")
    with counted() as statements:
        client.get("/auth/login")
    assert not statements


def test_a_wrong_form_changes_no_row_but_the_log(app: Flask, client: PageClient, alice: Person) -> None:
    tables = ("users", "sessions", "one_time_tokens", "outbox")
    before = fingerprint(app, tables)
    client.submit("/auth/login", email=alice.email, password="wrong")
    client.submit("/auth/login", email="not an address", password="wrong")
    assert fingerprint(app, tables) == before
