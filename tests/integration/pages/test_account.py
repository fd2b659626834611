"""One's own account: name, address, password, devices, history."""

import re

import pytest
from flask import Flask

from tests.clients import Api, PageClient, browser
from tests.factories import PASSWORD, Person
from tests.integration.pages.desk import (
    NEW_PASSWORD,
    fingerprint,
    is_signed_in,
    mails_to,
    subjects,
    text_of,
)

PAGES = ["profile", "email", "password", "devices", "history"]


@pytest.mark.parametrize("page", PAGES)
def test_strangers_are_sent_to_sign_in_first(client: PageClient, page: str) -> None:
    answer = client.get(f"/account/{page}")
    assert (answer.status_code, answer.location) == (303, f"/auth/login?next=/account/{page}")
    json = client.get(f"/account/{page}", headers={"Accept": "application/json"})
    assert (json.status_code, json.json["error"]["code"]) == (401, "AUTHENTICATION_REQUIRED")


def test_a_form_whose_session_ended_meanwhile_leads_to_sign_in(
    app: Flask, client: PageClient, api: Api, alice: Person
) -> None:
    client.sign_in(alice)
    token = client.token("/account/profile")
    api.as_(alice).delete("/users/me/sessions")
    answer = client.post("/account/profile", data={"csrf_token": token, "name": "Mallory"})
    assert (answer.status_code, answer.location) == (303, "/auth/login")


# ------------------------------------------------------------------------------------------------------- name


def test_the_name_changes(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    answer = client.submit("/account/profile", name="  Alice Ångström ")
    assert (answer.status_code, answer.location) == (303, "/account/profile")
    page = client.get("/account/profile").text
    assert 'value="Alice Ångström"' in page
    assert "Your name is saved." in page


@pytest.mark.parametrize("name", ["", "   ", "x" * 121, "A\nB", "A\u202eB", "A\x00"])
def test_a_name_that_is_none_is_refused(app: Flask, client: PageClient, alice: Person, name: str) -> None:
    client.sign_in(alice)
    before = fingerprint(app)
    refused = client.submit("/account/profile", name=name)
    assert refused.status_code == 422
    assert 'id="name-error"' in refused.text
    assert fingerprint(app) == before


def test_markup_in_a_name_is_text(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    client.submit("/account/profile", name='"><script>alert(1)</script>{{7*7}}')
    for page in ("/dashboard", "/account/profile", "/"):
        assert "<script>alert" not in client.get(page).text
    assert "{{7*7}}" in client.get("/dashboard").text


def test_a_program_renames_itself_with_json(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    answer = client.post("/account/profile", json={"name": "Alice Two"})
    assert (answer.status_code, answer.json["data"]["name"]) == (200, "Alice Two")
    refused = client.post("/account/profile", json={"name": "A", "role": "admin"})
    assert (refused.status_code, refused.json["error"]["details"]["field"]) == (422, "role")


# --------------------------------------------------------------------------------------------------- password


def test_a_new_password_ends_other_sessions_and_renews_this_one(
    app: Flask, client: PageClient, api: Api, alice: Person
) -> None:
    other = browser(app)
    other.sign_in(alice)
    pair = api.post("/auth/login", {"email": alice.email, "password": PASSWORD}).json["data"]
    client.sign_in(alice)
    before, token = client.get_cookie("session"), client.token("/account/profile")

    answer = client.submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)
    assert (answer.status_code, answer.location) == (303, "/account/password")
    assert "Your password is changed." in client.get("/account/password").text

    assert before
    thief = browser(app)
    thief.set_cookie("session", before.value)
    assert not is_signed_in(thief), "the cookie from before is worth nothing"
    assert client.token("/account/profile") != token
    assert not is_signed_in(other)
    assert api.post("/auth/refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401
    assert Api(app, pair["access_token"]).get("/users/me").status_code == 401
    new_devices = ["New sign-in to your account"] * 2
    assert subjects(app, alice.email) == [*new_devices, "Your password was changed"]
    assert browser(app).submit("/auth/login", email=alice.email, password=PASSWORD).status_code == 401


@pytest.mark.parametrize(
    ("current", "new", "status", "field"),
    [
        ("wrong", NEW_PASSWORD, 403, "current_password"),
        ("", NEW_PASSWORD, 422, "current_password"),
        (PASSWORD, "", 422, "new_password"),
        (PASSWORD, "short", 422, "new_password"),
        (PASSWORD, "passwordpassword", 422, "new_password"),
        (PASSWORD, "alice lindqvist", 422, "new_password"),
    ],
)
def test_a_refused_new_password_changes_nothing(
    app: Flask, client: PageClient, alice: Person, current: str, new: str, status: int, field: str
) -> None:
    client.sign_in(alice)
    before = fingerprint(app, ("users", "sessions", "outbox"))
    refused = client.submit("/account/password", current_password=current, new_password=new)
    assert refused.status_code == status
    assert f'id="{field}-error"' in refused.text
    assert PASSWORD not in refused.text
    assert fingerprint(app, ("users", "sessions", "outbox")) == before
    assert is_signed_in(client)


def test_guessing_the_current_password_is_limited_with_the_sign_in(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    for _ in range(10):
        client.submit("/account/password", current_password="wrong", new_password=NEW_PASSWORD)
    limited = client.submit("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)
    assert limited.status_code == 429
    assert int(limited.headers["Retry-After"]) > 0


# ---------------------------------------------------------------------------------------------------- address


def test_a_new_address_waits_and_both_are_told(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    answer = client.submit("/account/email", email="new@example.com", current_password=PASSWORD)
    assert (answer.status_code, answer.location) == (303, "/account/email")
    page = client.get("/account/email").text
    assert "A mail to the new address is on its way." in page
    assert "new@example.com" in page
    assert subjects(app, "new@example.com") == ["Confirm your new address"]
    assert subjects(app, alice.email) == ["Your address is about to change"]


def test_a_taken_address_looks_like_any_other(
    app: Flask, client: PageClient, alice: Person, bob: Person
) -> None:
    client.sign_in(alice)
    told = []
    for email in ("free@example.com", bob.email):
        answer = client.submit("/account/email", email=email, current_password=PASSWORD)
        json = client.post("/account/email", json={"email": email, "current_password": PASSWORD})
        page = client.get("/account/email")
        told.append((answer.status_code, text_of(answer), text_of(json), text_of(page).replace(email, "")))
    assert told[0] == told[1]
    assert "/auth/confirm-email" not in "".join(mail.text for mail in mails_to(app, bob.email))


@pytest.mark.parametrize(
    ("email", "password", "status", "field"),
    [
        ("new@example.com", "wrong", 403, "current_password"),
        ("new@example.com", "", 422, "current_password"),
        ("nobody", PASSWORD, 422, "email"),
        ("", PASSWORD, 422, "email"),
    ],
)
def test_a_refused_address_mails_nobody(
    app: Flask, client: PageClient, alice: Person, email: str, password: str, status: int, field: str
) -> None:
    client.sign_in(alice)
    before = fingerprint(app, ("users", "outbox", "one_time_tokens"))
    refused = client.submit("/account/email", email=email, current_password=password)
    assert refused.status_code == status
    assert f'id="{field}-error"' in refused.text
    assert fingerprint(app, ("users", "outbox", "one_time_tokens")) == before


# ---------------------------------------------------------------------------------------------------- devices


def test_this_device_comes_first_and_another_can_be_ended(
    app: Flask, client: PageClient, alice: Person
) -> None:
    client.sign_in(alice)
    other = browser(app)
    other.sign_in(alice)
    other.get("/dashboard")
    page = client.get("/account/devices").text
    assert page.count("This device") == 1
    assert page.index("This device") < page.index('/end"')
    target = re.search(r'action="(/account/devices/[0-9a-f-]{36}/end)"', page)
    assert target
    answer = client.submit(target[1], "/account/devices")
    assert (answer.status_code, answer.location) == (303, "/account/devices")
    assert "The device is signed out." in client.get("/account/devices").text
    assert not is_signed_in(other)
    assert is_signed_in(client)


def test_ending_a_device_twice_says_so(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    browser(app).sign_in(alice)
    page = client.get("/account/devices").text
    target = re.search(r'action="(/account/devices/[0-9a-f-]{36}/end)"', page)
    assert target
    client.submit(target[1], "/account/devices")
    assert client.submit(target[1], "/account/devices").status_code == 404


def test_somebody_elses_device_is_not_there(
    app: Flask, client: PageClient, alice: Person, bob: Person
) -> None:
    bobs = browser(app)
    bobs.sign_in(bob)
    browser(app).sign_in(bob)
    target = re.search(r'action="(/account/devices/[^"]+/end)"', bobs.get("/account/devices").text)
    assert target
    client.sign_in(alice)
    before = fingerprint(app)
    assert client.submit(target[1], "/account/devices").status_code == 404
    assert fingerprint(app) == before


def test_every_other_device_is_ended_at_once(app: Flask, client: PageClient, api: Api, alice: Person) -> None:
    others = [browser(app) for _ in range(2)]
    for other in others:
        other.sign_in(alice)
    caller = api.as_(alice)
    client.sign_in(alice)
    answer = client.submit("/account/devices/end-others", "/account/devices")
    assert (answer.status_code, answer.location) == (303, "/account/devices")
    assert not any(is_signed_in(other) for other in others)
    assert caller.get("/users/me").status_code == 401
    assert "You are signed in nowhere else." in client.get("/account/devices").text


# ---------------------------------------------------------------------------------------------------- history


def test_the_history_leads_on_and_back_by_cursor(app: Flask, client: PageClient, alice: Person) -> None:
    for _ in range(21):
        browser(app).post("/auth/login", json={"email": alice.email, "password": alice.password})
    client.sign_in(alice)
    first = client.get("/account/history")
    older = re.search(r'href="(/account/history\?cursor=[^"]+)" rel="next"', first.text)
    assert older
    second = client.get(older[1].replace("&amp;", "&"))
    newer = re.search(r'href="(/account/history\?cursor=[^"]+)" rel="prev"', second.text)
    assert newer
    assert text_of(client.get(newer[1].replace("&amp;", "&"))).count("timeline__item") == first.text.count(
        "timeline__item"
    )


@pytest.mark.parametrize(
    "query", ["cursor=x", "cursor=%00", "page=-1", "sort=ip", "per_page=1000", "x=y", "cursor=a&cursor=b"]
)
def test_a_history_address_that_is_wrong_leads_to_the_beginning(
    client: PageClient, alice: Person, query: str
) -> None:
    client.sign_in(alice)
    assert client.get(f"/account/history?{query}").status_code in {200, 400}


def test_what_others_did_is_told_without_them(
    app: Flask, client: PageClient, api: Api, ada: Person, alice: Person
) -> None:
    origin = {"REMOTE_ADDR": "192.0.2.77"}
    api.as_(ada).patch(
        f"/users/{alice.id}",
        {"role": "editor"},
        headers={"User-Agent": "Mozilla/5.0 (Windows NT 10.0) Firefox/140.0"},
        environ_base=origin,
    )
    browser(app).post(
        "/auth/login",
        json={"email": alice.email, "password": "wrong"},
        environ_base={"REMOTE_ADDR": "192.0.2.99"},
    )
    client.sign_in(alice)
    for page in ("/account/history", "/dashboard"):
        text = client.get(page).text
        assert "Role changed" in text
        assert "192.0.2.77" not in text
        assert "Windows" not in text
        assert ada.name not in text
        assert "192.0.2.99" in text, "where a refused sign-in came from is the owner's business"
    events = api.as_(alice).get("/users/me/events").json["data"]
    changed = next(event for event in events if event["action"] == "account:role:change")
    assert (changed["by_you"], changed["ip"], changed["user_agent"]) == (False, None, None)


def test_who_did_it_can_not_be_found_out_by_a_filter(api: Api, ada: Person, alice: Person) -> None:
    refused = api.as_(alice).get(f"/users/me/events?filter[actor_id]={ada.id}")
    assert (refused.status_code, refused.json["error"]["details"]["field"]) == (422, "filter[actor_id]")


def test_somebody_elses_events_are_not_in_the_history(
    client: PageClient, app: Flask, alice: Person, bob: Person
) -> None:
    browser(app).sign_in(bob)
    browser(app).post("/auth/login", json={"email": bob.email, "password": "wrong"})
    client.sign_in(alice)
    assert "Sign-in refused" not in client.get("/account/history").text
