"""Registering changes no account: each registration has its own link, and the one that is used counts (ADR-015)."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select

from models import User, db
from models.base import now
from tests.clients import Api, PageClient, browser
from tests.factories import Person, make_person
from tests.integration.pages.desk import fingerprint, is_signed_in, subjects
from tests.integration.security.registering import (
    ADDRESS,
    NEW,
    OWNERS,
    STRANGERS,
    Mails,
    opens,
    press,
    register,
    verify,
)

LINK = "/auth/verify-email"


@pytest.fixture
def mails(app: Flask) -> Mails:
    """What comes to the address."""
    return Mails(app)


@pytest.fixture
def stranger(app: Flask) -> PageClient:
    """Another browser."""
    return browser(app)


def name_of(app: Flask, address: str = ADDRESS) -> str | None:
    with app.app_context():
        return db.session.scalar(select(User.name).where(User.email == address))


# ------------------------------------------------------------------------------- what a second registration does


@pytest.mark.parametrize("door", ["page", "json", "api"])
def test_registering_an_address_in_use_changes_nothing_of_its_account(
    app: Flask, client: PageClient, stranger: PageClient, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    monkeypatch.setitem(app.config, "EMAIL_VERIFICATION", "optional")
    register(client, OWNERS)
    client.submit("/auth/login", email=ADDRESS, password=OWNERS["password"])
    before = fingerprint(app, ("users", "sessions"))
    body = {**STRANGERS, "email": ADDRESS}
    path = "/auth/register" if door == "json" else "/api/v1/auth/register"
    with time_machine.travel(now() + timedelta(seconds=61)):
        if door == "page":
            register(stranger, STRANGERS)
        else:
            assert stranger.post(path, json=body).status_code == 202
    assert fingerprint(app, ("users", "sessions")) == before
    assert not opens(app, STRANGERS["password"])
    assert opens(app, OWNERS["password"])
    assert is_signed_in(client)


@pytest.mark.parametrize(
    "columns",
    [
        {"last_login_at": "2026-01-01"},
        {"role": "editor"},
        {"has_second_factor": True},
        {},
    ],
)
def test_registering_never_changes_an_account_that_waits(
    app: Flask, client: PageClient, columns: dict[str, Any]
) -> None:
    make_person(app, "Xenia", email=ADDRESS, email_verified=False, **columns)
    before = fingerprint(app, ("users",))
    register(client, STRANGERS)
    assert fingerprint(app, ("users",)) == before
    assert subjects(app, ADDRESS) == ["Confirm your address"]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({}, ["You already have an account"]),
        ({"email_verified": False, "password_hash": None}, ["You already have an account"]),
        ({"email_verified": False, "frozen_at": "2026-01-01"}, ["You already have an account"]),
        ({"is_active": False, "suspended_at": "2026-01-01"}, []),
    ],
    ids=["confirmed", "invited", "frozen", "suspended"],
)
def test_no_link_is_mailed_for_an_account_that_waits_for_nothing(
    app: Flask, client: PageClient, columns: dict[str, Any], told: list[str]
) -> None:
    make_person(app, "Xenia", email=ADDRESS, **columns)
    before = fingerprint(app, ("users", "one_time_tokens"))
    register(client, STRANGERS)
    assert fingerprint(app, ("users", "one_time_tokens")) == before
    assert subjects(app, ADDRESS) == told


def test_a_strangers_registration_leaves_the_owners_link_good(
    app: Flask, client: PageClient, stranger: PageClient, mails: Mails
) -> None:
    register(client, OWNERS)
    owners, _ = mails.next()
    with time_machine.travel(now() + timedelta(seconds=61)):
        register(stranger, STRANGERS)
        theirs, _ = mails.next()
        assert press(client, owners).status_code == 303
        assert press(client, theirs).status_code == 410
    assert opens(app, OWNERS["password"])
    assert not opens(app, STRANGERS["password"])


def test_the_owner_who_registers_second_confirms_their_own(
    app: Flask, client: PageClient, stranger: PageClient, mails: Mails
) -> None:
    register(stranger, STRANGERS)
    theirs, _ = mails.next()
    register(client, OWNERS)
    owners, _ = mails.next()
    assert press(client, owners).status_code == 303
    assert name_of(app) == "Xenia Owner"
    assert opens(app, OWNERS["password"])
    assert not opens(app, STRANGERS["password"])
    assert press(stranger, theirs).status_code == 410


def test_ten_mails_an_hour_go_to_an_address_whoever_registers_it(app: Flask, alice: Person) -> None:
    moment = now()
    for address, minutes, mailed in ((ADDRESS, 0, 10), (ADDRESS, 61, 20), (alice.email, 0, 10)):
        with time_machine.travel(moment + timedelta(minutes=minutes), tick=False):
            for number in range(12):
                app.config["RATELIMIT_ENABLED"] = True
                answer = Api(app).post(
                    "/auth/register",
                    {**OWNERS, "email": address},
                    environ_base={"REMOTE_ADDR": f"192.0.2.{number + minutes}"},
                )
                assert answer.status_code == 202
        assert len(subjects(app, address)) == mailed


# ------------------------------------------------------------------------------------------ in another browser


def test_another_browser_is_asked_for_a_name_and_a_password(
    app: Flask, client: PageClient, stranger: PageClient, mails: Mails
) -> None:
    register(stranger, STRANGERS)
    token, _ = mails.next()
    client.get(LINK, query_string={"token": token})
    page = client.get(LINK).text
    assert 'id="password"' in page
    assert 'id="name"' in page
    assert "Mallory" not in page
    assert press(client, token, **NEW).location == "/auth/login"
    assert name_of(app) == "Xenia Chosen"
    assert opens(app, NEW["password"])
    assert not opens(app, STRANGERS["password"])


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, ("name", "password")),
        ({"name": "Xenia"}, ("password",)),
        ({"password": NEW["password"]}, ("name",)),
        ({"name": "Xenia", "password": "short"}, ("password",)),
        ({"name": "Xenia", "password": "xenia@example.com"}, ("password",)),
    ],
)
def test_the_link_stays_good_until_the_password_is(
    app: Flask,
    client: PageClient,
    stranger: PageClient,
    mails: Mails,
    fields: dict[str, str],
    wrong: tuple[str, ...],
) -> None:
    register(stranger, STRANGERS)
    token, _ = mails.next()
    before = fingerprint(app)
    refused = press(client, token, **fields)
    assert refused.status_code == 422
    assert all(f'id="{field}-error"' in refused.text for field in wrong)
    assert fingerprint(app) == before
    assert press(client, token, **NEW).status_code == 303


@pytest.mark.parametrize("token", ["made up", "of a device"])
def test_another_browsers_device_cookie_is_not_this_registrations(
    app: Flask, client: PageClient, stranger: PageClient, mails: Mails, alice: Person, token: str
) -> None:
    register(stranger, STRANGERS)
    link, _ = mails.next()
    if token == "made up":
        client.set_cookie("device", "A" * 43)
    else:
        client.sign_in(alice)
    assert press(client, link).status_code == 422


def test_signing_out_does_not_part_the_browser_from_its_registration(
    client: PageClient, mails: Mails, alice: Person
) -> None:
    register(client, OWNERS)
    client.sign_in(alice)
    client.submit("/auth/logout")
    assert press(client, mails.next()[0]).status_code == 303


def test_a_new_password_may_be_sent_by_the_registering_browser_too(
    app: Flask, client: PageClient, mails: Mails
) -> None:
    register(client, OWNERS)
    body = {"token": mails.next()[0], "password": NEW["password"]}
    assert client.post(LINK, json=body).status_code == 200
    assert opens(app, NEW["password"])
    assert name_of(app) == "xenia"


# ------------------------------------------------------------------------------------------------ the typed code


def test_the_code_of_each_registration_is_good(
    app: Flask, client: PageClient, stranger: PageClient, mails: Mails
) -> None:
    register(client, OWNERS)
    _, owners = mails.next()
    register(stranger, STRANGERS)
    mails.next()
    assert client.submit(LINK, email=ADDRESS, code=owners).location == "/auth/login"
    assert opens(app, OWNERS["password"])


def test_a_code_in_another_browser_asks_for_name_and_password_and_then_works(
    app: Flask, client: PageClient, stranger: PageClient, mails: Mails
) -> None:
    register(stranger, STRANGERS)
    _, code = mails.next()
    before = fingerprint(app)
    asked = client.submit(LINK, email=ADDRESS, code=code)
    assert asked.status_code == 200
    assert 'id="password"' in asked.text
    assert f'name="code" value="{code}"' in asked.text
    assert "Mallory" not in asked.text
    assert fingerprint(app) == before
    weak = client.submit(LINK, email=ADDRESS, code=code, name="Xenia", password="short")
    assert weak.status_code == 422
    assert client.submit(LINK, email=ADDRESS, code=code, **NEW).location == "/auth/login"
    assert (name_of(app), opens(app, NEW["password"])) == ("Xenia Chosen", True)
    assert not opens(app, STRANGERS["password"])


def test_a_code_that_grew_old_meanwhile_is_told_beside_its_field(
    client: PageClient, stranger: PageClient, mails: Mails
) -> None:
    register(stranger, STRANGERS)
    _, code = mails.next()
    with time_machine.travel(now() + timedelta(minutes=11)):
        refused = client.submit(LINK, email=ADDRESS, code=code, **NEW)
    assert refused.status_code == 410
    assert 'id="code-error"' in refused.text
    assert "The code is right" not in refused.text


def test_five_wrong_codes_make_every_code_of_the_address_worthless(app: Flask, mails: Mails) -> None:
    codes = set()
    for _ in range(3):
        Api(app).post("/auth/register", {**OWNERS, "email": ADDRESS})
        codes.add(mails.next()[1])
    wrong = next(code for code in ("000000", "111111", "222222", "333333") if code not in codes)
    for _ in range(5):
        assert verify(app, {"email": ADDRESS, "code": wrong}) == 410
    assert {verify(app, {"email": ADDRESS, "code": code}) for code in codes} == {410}


def test_twenty_codes_a_day_are_looked_at_for_an_address_and_links_stay_good(
    app: Flask, mails: Mails
) -> None:
    moment, token = now(), ""
    for minutes in range(0, 50, 11):
        with time_machine.travel(moment + timedelta(minutes=minutes), tick=False):
            Api(app).post("/auth/register", {**OWNERS, "email": ADDRESS})
            token, code = mails.next()
            wrong = f"{(int(code) + 1) % 10**6:06}"
            if minutes < 44:
                assert {verify(app, {"email": ADDRESS, "code": wrong}) for _ in range(5)} == {410}
            else:
                assert verify(app, {"email": ADDRESS, "code": code}) == 410
    with time_machine.travel(moment + timedelta(minutes=45), tick=False):
        assert verify(app, {"token": token}) == 200


# --------------------------------------------------------------------------------------------------- programs


def test_what_a_program_registered_is_confirmed_as_it_stands(app: Flask, mails: Mails) -> None:
    for body in ("token", "code"):
        address = f"{body}@example.com"
        mails.address = address
        Api(app).post("/auth/register", {**OWNERS, "email": address})
        token, code = mails.next()
        sent = {"token": token} if body == "token" else {"email": address, "code": code}
        assert verify(app, sent) == 200
        assert opens(app, OWNERS["password"], address)


@pytest.mark.parametrize("door", ["api", "json of another browser"])
@pytest.mark.parametrize("way", ["token", "code"])
def test_what_a_browser_registered_needs_a_password_elsewhere(
    app: Flask, stranger: PageClient, client: PageClient, mails: Mails, door: str, way: str
) -> None:
    register(stranger, STRANGERS)
    token, code = mails.next()
    body = {"token": token} if way == "token" else {"email": ADDRESS, "code": code}
    path = "/api/v1/auth/verify-email" if door == "api" else LINK
    refused = client.post(path, json=body)
    assert (refused.status_code, refused.json["error"]["code"]) == (422, "VALIDATION_ERROR")
    assert refused.json["error"]["details"]["field"] == "password"
    weak = client.post(path, json={**body, "password": "short"})
    assert (weak.status_code, weak.json["error"]["code"]) == (422, "WEAK_PASSWORD")
    assert client.post(path, json={**body, **NEW}).status_code == 200
    assert (name_of(app), opens(app, NEW["password"])) == ("Xenia Chosen", True)


def test_a_strangers_name_does_not_stick_where_none_is_given(
    app: Flask, stranger: PageClient, mails: Mails
) -> None:
    register(stranger, STRANGERS)
    assert verify(app, {"token": mails.next()[0], "password": NEW["password"]}) == 200
    assert name_of(app) == "xenia"


def test_the_api_takes_no_current_password_here(app: Flask, mails: Mails) -> None:
    Api(app).post("/auth/register", {**OWNERS, "email": ADDRESS})
    assert verify(app, {"token": mails.next()[0], "current_password": OWNERS["password"]}) == 422


# --------------------------------------------------------------------------------------------- another mail


def test_another_mail_in_the_registering_browser_is_for_the_same_registration(
    app: Flask, client: PageClient, stranger: PageClient, mails: Mails
) -> None:
    register(stranger, STRANGERS)
    mails.next()
    register(client, OWNERS)
    first, _ = mails.next()
    client.submit(f"{LINK}/request", email=ADDRESS)
    second, _ = mails.next()
    assert press(client, second).status_code == 303
    assert opens(app, OWNERS["password"])
    assert press(client, first).status_code == 410


@pytest.mark.parametrize("asked_at", ["page", "api"])
def test_another_mail_asked_for_elsewhere_needs_a_new_password_on_the_page(
    app: Flask, client: PageClient, stranger: PageClient, mails: Mails, asked_at: str
) -> None:
    register(stranger, STRANGERS)
    mails.next()
    if asked_at == "page":
        client.submit(f"{LINK}/request", email=ADDRESS)
    else:
        Api(app).post("/auth/verify-email/request", {"email": ADDRESS})
    token, _ = mails.next()
    assert press(client, token).status_code == 422
    assert press(stranger, token).status_code == 422
    assert press(client, token, **NEW).status_code == 303
    assert not opens(app, STRANGERS["password"])


def test_another_mail_that_a_program_asked_for_counts_as_the_account_stands(app: Flask, mails: Mails) -> None:
    Api(app).post("/auth/register", {**OWNERS, "email": ADDRESS})
    mails.next()
    Api(app).post("/auth/verify-email/request", {"email": ADDRESS})
    assert verify(app, {"token": mails.next()[0]}) == 200
    assert opens(app, OWNERS["password"])


def test_another_mail_needs_a_password_where_several_registered_the_address(app: Flask, mails: Mails) -> None:
    for who in (STRANGERS, OWNERS):
        Api(app).post("/auth/register", {**who, "email": ADDRESS})
        mails.next()
    Api(app).post("/auth/verify-email/request", {"email": ADDRESS})
    token, _ = mails.next()
    assert verify(app, {"token": token}) == 422
    assert verify(app, {"token": token, "password": NEW["password"]}) == 200
