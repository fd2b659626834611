"""The first proof of an address clears what was set before it, whichever way it comes (ADR-015, security case A7)."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pyotp
import pytest
from flask import Flask
from sqlalchemy import func, select, text

from models import User, db
from models.base import now
from services import own_data
from services.base_service import unit_of_work
from tests.clients import Answer, Api, PageClient, browser
from tests.factories import PASSWORD, Person, make_person
from tests.integration.own_data.pictures import picture
from tests.integration.pages.desk import is_signed_in, make_link
from tests.integration.security.registering import ADDRESS, NEW, OWNERS, Mails, opens, press, register, verify

pytestmark = pytest.mark.usefixtures("early_in_a_step", "optional")
#: Everything that belongs to an account and is not a record of what was done or mailed.
HELD = [
    name
    for name, policy in own_data.POLICIES.items()
    if name not in {"users", "audit_events", "outbox", "idempotency_keys", "refresh_tokens"}
]


@pytest.fixture
def optional(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses may be confirmed later."""
    monkeypatch.setitem(app.config, "EMAIL_VERIFICATION", "optional")


@pytest.fixture
def first(app: Flask) -> Person:
    """Whoever registered the address before its owner came."""
    return make_person(app, "Mallory First", email=ADDRESS, email_verified=False)


def set_up(app: Flask, person: Person) -> Api:
    """Set everything that an account can hold; the program that did it."""
    caller = Api(app).as_(person)
    secret = caller.post("/users/me/totp").json["data"]["secret"]
    code = pyotp.TOTP(secret).at(now())
    assert caller.post("/users/me/totp/confirm", {"code": code}).status_code == 200
    assert caller.post("/users/me/api-keys", {"name": "CI", "scopes": []}).status_code == 201
    assert caller.post("/users/me/export").status_code == 202
    assert caller.put("/users/me/picture", None, data=picture(), content_type="image/png").status_code == 200
    Api(app).post("/auth/login", {"email": person.email, "password": person.password})  # a half-done sign-in
    make_link(app, person, "reset")
    make_link(app, person, "not_me", person.email)
    rows = {
        "identities": "user_id, issuer, subject VALUES (:id, 'https://i.example.com', 'x')",
        "passkeys": "id, user_id, name, credential_id, public_key, user_handle, sign_count, transports, is_synced"
        " VALUES (gen_random_uuid(), :id, 'Key', 'x', 'x', 'x', 0, '{}', false)",
        "known_devices": "user_id, token_hash VALUES (:id, 'x')",
    }
    with app.app_context(), unit_of_work():
        for table, values in rows.items():
            columns, _, given = values.partition(" VALUES ")
            db.session.execute(text(f"INSERT INTO {table} ({columns}) VALUES {given}"), {"id": person.id})
        db.session.get_one(User, person.id).deletes_at = now() + timedelta(days=14)
    return caller


def held(app: Flask, person: Person) -> set[str]:
    """The tables that hold something of the account."""
    found = set()
    with app.app_context():
        for name in HELD:
            table = db.metadata.tables[name]
            owner = table.c[own_data.POLICIES[name].owner[0]]
            if db.session.scalar(select(func.count()).select_from(table).where(owner == person.id)):
                found.add(name)
    return found


def account(app: Flask, person: Person) -> User:
    with app.app_context():
        return db.session.get_one(User, person.id)


def by_link(app: Flask, client: PageClient, person: Person) -> Answer:
    return press(client, make_link(app, person, "verification"), **NEW)


def by_code(app: Flask, client: PageClient, person: Person) -> Answer:
    client.submit("/auth/verify-email/request", email=person.email)
    return client.submit("/auth/verify-email", email=person.email, code=Mails(app).next()[1], **NEW)


def by_registering_again(app: Flask, client: PageClient, person: Person) -> Answer:
    assert person.email == ADDRESS
    register(client, NEW)
    return press(client, Mails(app).next()[0])


def by_reset(app: Flask, client: PageClient, person: Person) -> Answer:
    token = make_link(app, person, "reset")
    return client.post("/auth/reset-password", json={"token": token, "password": NEW["password"]})


def by_invitation(app: Flask, client: PageClient, person: Person) -> Answer:
    token = make_link(app, person, "invitation")
    return client.post("/auth/invitation", json={"token": token, "password": NEW["password"]})


def by_api(app: Flask, client: PageClient, person: Person) -> Answer:
    body = {"token": make_link(app, person, "verification"), **NEW}
    return client.post("/api/v1/auth/verify-email", json=body)


Way = Callable[[Flask, PageClient, Person], Answer]
WAYS: tuple[Way, ...] = (by_link, by_code, by_registering_again, by_reset, by_invitation, by_api)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_that_was_set_before_survives_the_first_proof(
    app: Flask, client: PageClient, first: Person, way: Way
) -> None:
    caller = set_up(app, first)
    assert held(app, first) == set(HELD)
    assert way(app, client, first).status_code in {200, 303}
    # The browser in which it was proven is known from then on; a reset is told, with a link that calls it back.
    left = {"event_numbers"} | (set() if way is by_api else {"known_devices"})  # what happened stays
    assert held(app, first) == left | ({"one_time_tokens"} if way is by_reset else set())
    assert caller.get("/users/me").status_code == 401
    assert not opens(app, PASSWORD)
    assert opens(app, NEW["password"])
    user = account(app, first)
    assert (user.email_verified, user.deletes_at, user.picture, user.has_second_factor) == (
        True,
        None,
        None,
        False,
    )


@pytest.mark.parametrize("way", [by_reset, by_invitation])
def test_a_later_proof_keeps_what_the_owner_set(
    app: Flask, client: PageClient, alice: Person, way: Way
) -> None:
    set_up(app, alice)
    assert way(app, client, alice).status_code == 200
    kept = {"identities", "passkeys", "totp_credentials", "recovery_codes", "data_exports"}
    assert held(app, alice) >= kept


def test_the_role_that_an_administrator_gave_stays(app: Flask, client: PageClient) -> None:
    person = make_person(app, "Xenia", email=ADDRESS, email_verified=False, role="editor")
    by_link(app, client, person)
    assert account(app, person).role == "editor"


def test_what_a_program_registered_and_used_is_cleared_when_a_program_confirms(app: Flask) -> None:
    mails = Mails(app)
    Api(app).post("/auth/register", {**OWNERS, "email": ADDRESS})
    token, _ = mails.next()
    body = {"email": ADDRESS, "password": OWNERS["password"]}
    access = Api(app).post("/auth/login", body).json["data"]["access_token"]
    assert verify(app, {"token": token}) == 200
    assert Api(app, access).get("/users/me").status_code == 401
    assert opens(app, OWNERS["password"])


def test_an_address_that_was_never_proven_calls_no_account_back(
    app: Flask, client: PageClient, first: Person
) -> None:
    """Else what a first comer set up would come to its owner with the account, proven, and still open it."""
    client.sign_in(first)
    client.submit("/account/email", email="mallory@example.com", current_password=first.password)
    called_back = make_link(app, first, "not_me", ADDRESS)
    token = make_link(app, first, "email_change", "mallory@example.com")
    assert client.post("/auth/confirm-email", json={"token": token}).status_code == 200
    assert client.post("/auth/not-me", json={"token": called_back}).status_code == 410
    owner = browser(app)
    register(owner, OWNERS)
    assert press(owner, Mails(app).next()[0]).status_code == 303
    assert opens(app, OWNERS["password"])
    assert opens(app, first.password, "mallory@example.com")


# ------------------------------------------------------------------------ in a session, with the account's password


@pytest.fixture
def own(app: Flask, client: PageClient) -> str:
    """The owner registered, signed in at once, and set something up; the token of the link."""
    register(client, OWNERS)
    client.submit("/auth/login", email=ADDRESS, password=OWNERS["password"])
    client.submit("/auth/reauthenticate", password=OWNERS["password"])
    person = Person(own_id(app), ADDRESS, OWNERS["name"], OWNERS["password"])
    with app.app_context(), unit_of_work():
        db.session.execute(
            text("INSERT INTO identities (user_id, issuer, subject) VALUES (:id, 'https://i', 'x')"),
            {"id": person.id},
        )
    return Mails(app).next()[0]


def own_id(app: Flask) -> int:
    with app.app_context():
        return db.session.scalars(select(User.id).where(User.email == ADDRESS)).one()


def state(app: Flask) -> tuple[str, bool, int]:
    """Name, whether confirmed, and how many identities are connected."""
    with app.app_context():
        row: Any = db.session.execute(
            text("SELECT name, email_verified, (SELECT count(*) FROM identities) FROM users")
        ).one()
        return tuple(row)


def test_in_a_session_the_password_confirms_and_everything_stays(
    app: Flask, client: PageClient, own: str
) -> None:
    client.get("/auth/verify-email", query_string={"token": own})
    page = client.get("/auth/verify-email").text
    assert 'id="current_password"' in page
    assert 'id="password"' not in page
    done = client.submit("/auth/verify-email", token=own, current_password=OWNERS["password"])
    assert (done.status_code, done.location) == (303, "/dashboard")
    assert is_signed_in(client)
    assert state(app) == (OWNERS["name"], True, 1)
    assert opens(app, OWNERS["password"])


def test_a_strangers_link_confirms_nothing_of_the_strangers_in_the_owners_session(
    app: Flask, client: PageClient, own: str
) -> None:
    del own
    mails = Mails(app)
    mails.next()
    register(browser(app), {"name": "Mallory", "password": NEW["password"]})
    token, _ = mails.next()
    assert press(client, token, current_password=OWNERS["password"]).location == "/dashboard"
    assert state(app) == (OWNERS["name"], True, 1)
    assert opens(app, OWNERS["password"])
    assert not opens(app, NEW["password"])


@pytest.mark.parametrize("password", ["", "not this one at all"])
def test_in_a_session_a_wrong_password_confirms_nothing(
    app: Flask, client: PageClient, own: str, password: str
) -> None:
    refused = press(client, own, current_password=password)
    assert refused.status_code == (403 if password else 422)
    assert 'id="current_password-error"' in refused.text
    assert state(app) == (OWNERS["name"], False, 1)
    assert press(client, own, current_password=OWNERS["password"]).status_code == 303


def test_wrong_passwords_there_count_like_those_of_a_sign_in(client: PageClient, own: str) -> None:
    statuses = [press(client, own, current_password="wrong one").status_code for _ in range(11)]
    assert statuses == [403] * 10 + [429]
    assert press(client, own, current_password=OWNERS["password"]).status_code == 429


def test_in_a_session_a_new_password_may_be_set_instead_and_nothing_stays(
    app: Flask, client: PageClient, own: str
) -> None:
    client.get("/auth/verify-email", query_string={"token": own})
    address = "/auth/verify-email?with=new-password"
    assert "are removed" in client.get(address).text
    done = client.submit(address, token=own, **NEW)
    assert (done.status_code, done.location) == (303, "/auth/login")
    assert not is_signed_in(client)
    assert state(app) == (NEW["name"], True, 0)
    assert opens(app, NEW["password"])


def test_json_in_a_session_needs_the_password_as_the_page_does(
    app: Flask, client: PageClient, own: str
) -> None:
    refused = client.post("/auth/verify-email", json={"token": own})
    assert (refused.status_code, refused.json["error"]["details"]["field"]) == (422, "current_password")
    assert state(app) == (OWNERS["name"], False, 1)
    body = {"token": own, "current_password": OWNERS["password"]}
    assert client.post("/auth/verify-email", json=body).status_code == 200
    assert is_signed_in(client)
    assert state(app) == (OWNERS["name"], True, 1)


def test_the_password_of_a_session_that_is_over_clears_nothing(
    app: Flask, client: PageClient, own: str
) -> None:
    client.get("/auth/verify-email", query_string={"token": own})
    client.submit("/auth/logout")
    refused = press(client, own, current_password=OWNERS["password"])
    assert refused.status_code == 401
    assert state(app) == (OWNERS["name"], False, 1)


def test_a_code_in_a_session_asks_for_the_password(app: Flask, client: PageClient, own: str) -> None:
    del own
    mails = Mails(app)
    _, code = mails.next()
    asked = client.submit("/auth/verify-email", email=ADDRESS, code=code)
    assert asked.status_code == 200
    assert 'id="current_password"' in asked.text
    fields = {"email": ADDRESS, "code": code, "current_password": OWNERS["password"]}
    assert client.submit("/auth/verify-email", **fields).location == "/dashboard"
    assert state(app) == (OWNERS["name"], True, 1)


def test_signing_in_first_leads_back_to_the_link(client: PageClient, own: str) -> None:
    client.submit("/auth/logout")
    client.get("/auth/verify-email", query_string={"token": own})
    page = client.get("/auth/verify-email").text
    assert 'href="/auth/login?next=/auth/verify-email"' in page
    signed_in = client.submit(
        "/auth/login", email=ADDRESS, password=OWNERS["password"], next="/auth/verify-email"
    )
    assert signed_in.location == "/auth/verify-email"
    assert f'name="token" value="{own}"' in client.get("/auth/verify-email").text
