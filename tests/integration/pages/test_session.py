"""The session in the cookie: a new one for each sign-in, and every way that it ends."""

import pytest
import time_machine
from flask import Flask

from models.base import now
from tests.clients import Api, PageClient, browser
from tests.factories import Person
from tests.integration.pages.desk import is_signed_in


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
