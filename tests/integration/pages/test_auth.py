"""Signing in and out: forms, programs, refusals that tell nothing, and the session in the cookie."""

import pytest
import time_machine
from flask import Flask

from blueprints.http.redirects import own_path
from models.base import now
from tests.clients import Api, PageClient, browser
from tests.conftest import counted
from tests.factories import PASSWORD, Person, make_person
from tests.integration.pages.desk import NEW_PASSWORD, fingerprint, is_signed_in, text_of

JSON = {"Accept": "application/json"}
FORBIDDEN_TARGETS = [
    "//e",
    "///e",
    "\\\\e",
    "/\\e",
    "/%09/e",
    "/%5ce",
    "/%5Ce",
    "/%2fe",
    "https:e",
    "http:///e",
    "javascript:1",
    "data:text/html,x",
    "//u@e",
    "https://host.e",
    "https://localhost",
    "http://localhost/dashboard",
    "/..//e",
    "/./e",
    "/../e",
    "/account/..//e",
    "/account//e",
    "/\r\nSet-Cookie: a=b",
    "/account%0d%0aX: y",
    "/\t/e",
    "\t//e",
    " /dashboard",
    "/dashboard ",
    "/;@e",
    "/@e",
    "/:e",
    "／／e",
    "/\x00",
    "dashboard",
    "?a=b",
    "#a",
    "/account#//e",
    "/" + "a" * 3_000,
]


@pytest.fixture
def dora(app: Flask) -> Person:
    """Dora has registered and not confirmed her address."""
    return make_person(app, "Dora Quist", email="dora@example.com", email_verified=False)


@pytest.fixture
def eve(app: Flask) -> Person:
    """Eve is suspended."""
    suspended = {"is_active": False, "suspended_at": now(), "suspension_reason": "Spam"}
    return make_person(app, "Eve Adler", **suspended)


# ------------------------------------------------------------------------------------------------- signing in


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


def test_the_eleventh_try_waits_and_the_right_password_too(client: PageClient, alice: Person) -> None:
    tries = [client.submit("/auth/login", email=alice.email, password="wrong") for _ in range(11)]
    assert [answer.status_code for answer in tries] == [401] * 5 + [429] * 6
    form = client.sign_in(alice)
    json = client.post("/auth/login", json={"email": alice.email, "password": alice.password})
    assert (form.status_code, json.status_code) == (429, 429)
    assert int(form.headers["Retry-After"]) > 0
    assert "Too many attempts. Try again in " in form.text
    assert f'value="{alice.email}"' in form.text
    assert alice.password not in form.text


# ------------------------------------------------------------------------------------------- where next leads


def test_a_page_that_needs_a_sign_in_is_come_back_to(client: PageClient, alice: Person) -> None:
    asked = client.get("/account/history?sort=id")
    assert (asked.status_code, asked.location) == (303, "/auth/login?next=/account/history?sort%3Did")
    page = client.get(asked.location)
    assert 'name="next" value="/account/history?sort=id"' in page.text
    answer = client.submit(
        "/auth/login",
        asked.location,
        email=alice.email,
        password=alice.password,
        next="/account/history?sort=id",
    )
    assert answer.location == "/account/history?sort=id"


@pytest.mark.parametrize("target", FORBIDDEN_TARGETS)
def test_next_leads_nowhere_else(client: PageClient, alice: Person, target: str) -> None:
    assert own_path(target) == ""
    answer = client.submit("/auth/login", email=alice.email, password=alice.password, next=target)
    assert (answer.status_code, answer.location) == (303, "/dashboard")


@pytest.mark.parametrize("target", ["//e", "https://host.e", "/\\e", "javascript:1"])
def test_next_in_the_address_is_judged_alike(client: PageClient, alice: Person, target: str) -> None:
    page = client.get("/auth/login", query_string={"next": target})
    assert 'name="next"' not in page.text
    answer = client.post(
        "/auth/login",
        query_string={"next": target},
        data={"csrf_token": client.token(), "email": alice.email, "password": alice.password},
    )
    assert answer.location == "/dashboard"


@pytest.mark.parametrize(
    "target", ["/", "/dashboard", "/account/devices", "/admin/users?q=a%20b&page=2", "/a-b/c_d/"]
)
def test_next_leads_to_our_pages(target: str) -> None:
    assert own_path(target) == target


def test_a_long_target_is_judged_quickly() -> None:
    for text in ("/" + "a" * 1_900 + "!", "/a" * 900 + "!", "/a?" + "=" * 1_900 + "\\"):
        assert own_path(text) == ""


# --------------------------------------------------------------------------------------- the session's cookie


def test_nothing_in_the_cookie_survives_a_sign_in(client: PageClient, alice: Person) -> None:
    token = client.token()
    before = client.get_cookie("session")
    client.post("/auth/login", data={"csrf_token": token, "email": alice.email, "password": alice.password})
    after = client.get_cookie("session")
    assert before
    assert after
    assert before.value != after.value
    assert client.token("/account/profile") != token


def test_the_cookie_before_the_sign_in_stays_worth_nothing(
    app: Flask, client: PageClient, alice: Person
) -> None:
    client.get("/auth/login")
    planted = client.get_cookie("session")
    assert planted
    client.sign_in(alice)
    thief = browser(app)
    thief.set_cookie("session", planted.value)
    assert not is_signed_in(thief)


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(client: PageClient, alice: Person) -> None:
    cookie = client.sign_in(alice).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    assert len(cookie) < 4096


def test_signing_in_again_ends_the_session_before(
    app: Flask, client: PageClient, alice: Person, bob: Person
) -> None:
    client.sign_in(alice)
    before = client.get_cookie("session")
    assert before
    client.sign_in(bob)
    assert bob.name in client.get("/dashboard").text
    thief = browser(app)
    thief.set_cookie("session", before.value)
    assert not is_signed_in(thief)


def test_over_https_the_cookie_belongs_to_this_host_alone(
    app: Flask, client: PageClient, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "SESSION_COOKIE_SECURE", True)
    monkeypatch.setitem(app.config, "SESSION_COOKIE_NAME", "__Host-session")
    monkeypatch.setitem(app.config, "DEVICE_COOKIE_NAME", "__Host-device")
    body = {"email": alice.email, "password": alice.password}
    given = client.post("/auth/login", json=body, base_url="https://localhost").headers.getlist("Set-Cookie")
    taken = client.post("/auth/logout", json={}, base_url="https://localhost").headers["Set-Cookie"]
    assert sorted(cookie.split("=")[0] for cookie in given) == ["__Host-device", "__Host-session"]
    for cookie in (*given, taken):
        assert cookie.startswith("__Host-")
        assert "; Secure" in cookie
        assert "; HttpOnly" in cookie
        assert "; Path=/" in cookie
    assert "Max-Age=0" in taken


@pytest.mark.parametrize("value", ["", "x", "é", "." * 40, "eyJfdXNlcl9pZCI6IngifQ.x.x", "a" * 4_000])
def test_an_odd_cookie_is_nobody(app: Flask, value: str) -> None:
    client = browser(app)
    client.set_cookie("session", value)
    assert client.get("/dashboard").status_code == 303
    assert client.get("/auth/login").status_code == 200


def test_signing_out_ends_the_session_and_clears_the_browser(
    app: Flask, client: PageClient, alice: Person
) -> None:
    client.sign_in(alice)
    copied = client.get_cookie("session")
    assert copied
    answer = client.submit("/auth/logout")
    assert (answer.status_code, answer.location) == (303, "/")
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert client.get_cookie("session") is None
    thief = browser(app)
    thief.set_cookie("session", copied.value)
    assert not is_signed_in(thief)


def test_a_program_signs_out_with_json(client: PageClient, alice: Person) -> None:
    client.post("/auth/login", json={"email": alice.email, "password": alice.password})
    answer = client.post("/auth/logout", json={})
    assert (answer.status_code, answer.json["message"]) == (200, "Signed out.")
    assert not is_signed_in(client)


def test_looking_at_the_sign_out_page_signs_nobody_out(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    client.get("/auth/logout")
    client.head("/auth/logout")
    assert is_signed_in(client)


def test_signing_out_when_nobody_is_signed_in_is_no_error(client: PageClient) -> None:
    assert client.submit("/auth/logout").status_code == 303


def test_one_sign_out_leaves_other_devices(app: Flask, client: PageClient, alice: Person) -> None:
    other = browser(app)
    client.sign_in(alice)
    other.sign_in(alice)
    client.submit("/auth/logout")
    assert is_signed_in(other)


@pytest.mark.parametrize(("minutes", "is_in"), [(29, True), (31, False)])
def test_a_session_ends_when_it_is_not_used(
    client: PageClient, alice: Person, minutes: int, is_in: bool
) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        client.sign_in(alice)
        clock.shift(minutes * 60)
        assert is_signed_in(client) is is_in


@pytest.mark.real_database  # reading notes the last use by a statement of its own, which the others' rollback undoes
def test_a_session_in_use_ends_after_a_day_all_the_same(client: PageClient, alice: Person) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        client.sign_in(alice)
        for _ in range(49):
            clock.shift(29 * 60)
            assert client.get("/auth/profile").location == "/account/profile"
        clock.shift(19 * 60)
        assert not is_signed_in(client)


def test_health_polling_keeps_no_session_alive(client: PageClient, alice: Person) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        client.sign_in(alice)
        for _ in range(2):
            clock.shift(16 * 60)
            client.get("/health")
        assert not is_signed_in(client)


def test_somebody_suspended_is_out_at_once(
    app: Flask, client: PageClient, api: Api, ada: Person, alice: Person
) -> None:
    client.sign_in(alice)
    api.as_(ada).post(f"/users/{alice.id}/suspend", {"reason": "Spam"})
    assert not is_signed_in(client)


def test_a_changed_role_counts_at_once(
    app: Flask, client: PageClient, api: Api, ada: Person, alice: Person
) -> None:
    client.sign_in(alice)
    assert client.get("/admin/users").status_code == 403
    api.as_(ada).patch(f"/users/{alice.id}", {"role": "admin"})
    assert client.get("/admin/users").status_code == 200


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
