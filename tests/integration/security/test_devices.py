"""Known devices: a sign-in from a new one is told to its owner; of sessions the oldest ends (security case A40)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select

from models import AuditEvent, User, UserSession, db
from models.base import now
from models.device import KnownDevice
from services import known_device_service
from services.base_service import unit_of_work
from services.session_service import MOST_SESSIONS
from tests.clients import Api, PageClient, browser
from tests.factories import Person
from tests.integration.pages.desk import subjects

NEW = "New sign-in to your account"
ENDED = "A device was signed out"


def devices(app: Flask) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(KnownDevice)) or 0


def actions(app: Flask, person: Person) -> list[str]:
    with app.app_context():
        about = select(AuditEvent.action).where(AuditEvent.target_id == person.id).order_by(AuditEvent.id)
        return list(db.session.scalars(about))


def program(api: Api, person: Person, agent: str, name: str | None = None) -> int:
    body = {"email": person.email, "password": person.password} | ({"device_name": name} if name else {})
    return api.post("/auth/login", body, headers={"User-Agent": agent}).status_code


def test_the_first_sign_in_of_an_account_is_told_to_nobody(
    app: Flask, client: PageClient, alice: Person
) -> None:
    client.sign_in(alice)
    assert subjects(app, alice.email) == []
    assert devices(app) == 1


def test_a_second_browser_is_told_to_the_owner_once(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    other = browser(app)
    for _ in range(2):
        other.sign_in(alice)
        other.submit("/auth/logout")
    assert subjects(app, alice.email) == [NEW]
    assert actions(app, alice).count("account:device:new") == 1


def test_a_browser_stays_known_when_it_signs_out(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    before = client.get_cookie("device")
    answer = client.submit("/auth/logout")
    client.sign_in(alice)
    after = client.get_cookie("device")
    assert before
    assert after
    assert before.value == after.value
    assert "cookies" not in answer.headers["Clear-Site-Data"]
    assert subjects(app, alice.email) == []


def test_a_browser_known_to_one_is_new_to_another(
    app: Flask, client: PageClient, alice: Person, bob: Person
) -> None:
    browser(app).sign_in(bob)
    client.sign_in(alice)
    client.submit("/auth/logout")
    client.sign_in(bob)
    assert subjects(app, bob.email) == [NEW]


def test_a_wrong_password_makes_no_device_known(app: Flask, client: PageClient, alice: Person) -> None:
    answer = client.submit("/auth/login", email=alice.email, password="wrong horse battery")
    assert not [cookie for cookie in answer.headers.getlist("Set-Cookie") if cookie.startswith("device=")]
    assert devices(app) == 0


def test_registering_gives_the_cookie_and_makes_no_device_known(
    app: Flask, client: PageClient, alice: Person
) -> None:
    """For a known address as for an unknown one, and not for looking at the form."""
    client.get("/auth/register")
    assert client.get_cookie("device") is None
    for email in ("nobody.yet@example.com", alice.email):
        visitor = browser(app)
        visitor.submit("/auth/register", name="Xenia", email=email, password="violet harbour lantern six")
        assert visitor.get_cookie("device") is not None
    assert devices(app) == 0


@pytest.mark.parametrize("value", ["", "x", "é", "a" * 42, "a" * 44, "a" * 42 + "!", "a" * 4_000])
def test_an_odd_device_cookie_is_replaced(app: Flask, alice: Person, value: str) -> None:
    client = browser(app)
    client.set_cookie("device", value)
    client.sign_in(alice)
    given = client.get_cookie("device")
    assert given
    assert len(given.value) == 43
    assert given.value != value


def test_the_database_holds_no_device_cookie(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    given = client.get_cookie("device")
    assert given
    with app.app_context():
        kept = db.session.scalars(select(KnownDevice.token_hash)).one()
    assert len(kept) == 32
    assert given.value.encode() not in kept


def test_the_device_cookie_lives_half_a_year_and_is_for_the_server_alone(
    client: PageClient, alice: Person
) -> None:
    given = client.sign_in(alice).headers.getlist("Set-Cookie")
    cookie = next(cookie for cookie in given if cookie.startswith("device="))
    assert f"Max-Age={180 * 86_400}" in cookie
    for part in ("HttpOnly", "SameSite=Lax", "Path=/"):
        assert f"; {part}" in cookie
    assert "Domain" not in cookie


def test_a_program_is_known_by_what_it_calls_itself(app: Flask, api: Api, alice: Person) -> None:
    for agent, name in (("curl/8", None), ("curl/8", None), ("curl/8", "backup"), ("wget/1", None)):
        assert program(api, alice, agent, name) == 200
    assert subjects(app, alice.email) == [NEW, NEW]


def test_what_a_program_calls_itself_makes_no_browser_known(app: Flask, api: Api, alice: Person) -> None:
    program(api, alice, "curl/8")
    client = browser(app)
    client.set_cookie("device", "curl/8")
    client.sign_in(alice)
    assert subjects(app, alice.email) == [NEW]


def test_a_device_unused_for_half_a_year_is_forgotten(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    with app.app_context(), unit_of_work():
        assert known_device_service.purge() == 0
    with time_machine.travel(now() + timedelta(days=181)):
        with app.app_context(), unit_of_work():
            assert known_device_service.purge() == 1
        client.sign_in(alice)
    assert subjects(app, alice.email) == [NEW]


@pytest.mark.real_database
def test_of_two_sign_ins_at_once_one_finds_the_program_new(app: Flask, api: Api, alice: Person) -> None:
    program(api, alice, "curl/8")
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda _: program(api, alice, "wget/1"), range(4)))
    assert codes == [200] * 4
    assert subjects(app, alice.email) == [NEW]


def test_the_twenty_first_session_ends_the_oldest_and_tells_its_owner_once_a_day(
    app: Flask, api: Api, alice: Person
) -> None:
    moment = now() - timedelta(minutes=20)
    for number in range(MOST_SESSIONS + 2):
        with time_machine.travel(moment + timedelta(seconds=number), tick=False):
            api.as_(alice)
    with app.app_context():
        own = select(UserSession.created_at).where(UserSession.user_id == alice.id)
        kept = sorted(db.session.scalars(own))
        assert db.session.get_one(User, alice.id).is_active
    assert len(kept) == MOST_SESSIONS
    assert kept[0] > moment + timedelta(seconds=1)
    assert subjects(app, alice.email) == [ENDED]
    assert actions(app, alice).count("account:session:surplus") == 2
