"""A few passwords at every account, from everywhere (spraying, A28): slow mode, and administrators are told."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from limits.errors import StorageError

from app import create_app
from models.base import now
from services import slow_mode_service
from tests.clients import Api, PageClient, browser
from tests.conftest import POOL, dispose
from tests.factories import Person, make_person
from tests.integration.pages.desk import subjects
from tests.integration.security.guessing import WRONG, events, guess, guesses, sign_in

ALARM = "Wrong passwords for many accounts"
Spray = Callable[[int], list[int]]


@pytest.fixture
def spray(api: Api) -> Spray:
    """One password at so many accounts, each from another address; returns the statuses."""
    numbers = iter(range(10_000))

    def spray(accounts: int) -> list[int]:
        found = []
        for number in (next(numbers) for _ in range(accounts)):
            address = f"198.51.{number % 100}.{number // 100}"
            found.append(guess(api, f"victim{number}@example.com", address=address).status_code)
        return found

    return spray


@pytest.fixture
def low(app: Flask) -> Iterator[None]:
    """A limit that is soon reached."""
    kept = app.config["SPRAY_LIMIT"]
    app.config["SPRAY_LIMIT"] = 10
    yield
    app.config["SPRAY_LIMIT"] = kept


def is_slow(app: Flask) -> bool:
    with app.app_context():
        return slow_mode_service.is_on()


@pytest.mark.usefixtures("low")
def test_one_address_is_stopped_long_before_the_site_slows_down(api: Api, ada: Person) -> None:
    api.app.config["SPRAY_LIMIT"] = 30
    codes = [guess(api, f"victim{n}@example.com").status_code for n in range(50)]
    assert codes == [401] * 20 + [429] * 30
    assert not is_slow(api.app)
    assert subjects(api.app, ada.email) == []


@pytest.mark.parametrize("most", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_spraying_from_hundreds_of_addresses_slows_unknown_devices_down(
    api: Api,
    ada: Person,
    alice: Person,
    spray: Spray,
    most: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(api.app.config, "SPRAY_LIMIT", most)
    assert spray(most) == [401] * most
    assert not is_slow(api.app)
    assert spray(1) == [401]
    assert is_slow(api.app)
    assert events(api.app, "security:slow_mode") == 1
    assert subjects(api.app, ada.email) == [ALARM]
    assert subjects(api.app, alice.email) == []
    assert [record.levelname for record in caplog.records if "slow_mode" in record.getMessage()] == ["ERROR"]


@pytest.mark.usefixtures("low")
def test_the_alarm_is_raised_once_an_hour(app: Flask, ada: Person, spray: Spray) -> None:
    make_person(app, "Not Confirmed", role="admin", email="new@example.com", email_verified=False)
    moment = now()
    for minutes, alarms in ((0, 1), (20, 1), (40, 1), (61, 2)):
        with time_machine.travel(moment + timedelta(minutes=minutes), tick=False):
            spray(15)
            assert is_slow(app)
            assert events(app, "security:slow_mode") == alarms
    assert subjects(app, ada.email) == [ALARM] * 2
    assert subjects(app, "new@example.com") == []


@pytest.mark.usefixtures("low")
def test_in_slow_mode_an_unknown_device_waits_after_its_first_failure(
    api: Api, alice: Person, spray: Spray
) -> None:
    spray(11)
    refused = [guess(api, email) for email in (alice.email, "nobody@example.com") for _ in range(2)]
    assert [answer.status_code for answer in refused] == [401, 429] * 2
    assert int(refused[1].headers["Retry-After"]) == 30
    with time_machine.travel(now() + timedelta(seconds=31), tick=False):
        assert guess(api, alice.email).status_code == 401
        assert int(guess(api, alice.email).headers["Retry-After"]) == 60


@pytest.mark.usefixtures("low")
def test_in_slow_mode_an_address_has_five_failures(api: Api, spray: Spray) -> None:
    spray(11)
    codes = [guess(api, f"somebody{n}@example.com").status_code for n in range(7)]
    assert codes == [401] * 5 + [429] * 2


@pytest.mark.usefixtures("low")
def test_in_slow_mode_the_right_password_opens_at_once(api: Api, alice: Person, spray: Spray) -> None:
    spray(11)
    assert [guess(api, alice.email, alice.password).status_code for _ in range(7)] == [200] * 7


@pytest.mark.usefixtures("low")
def test_a_known_device_does_not_notice_slow_mode(
    app: Flask, client: PageClient, alice: Person, spray: Spray
) -> None:
    client.sign_in(alice)
    client.submit("/auth/logout")
    spray(11)
    assert [sign_in(client, alice, WRONG) for _ in range(11)] == [401] * 10 + [429]
    assert [sign_in(browser(app), alice, WRONG) for _ in range(2)] == [401, 429]


@pytest.mark.usefixtures("low")
def test_failures_of_known_devices_slow_nobody_down(app: Flask, spray: Spray) -> None:
    people = [make_person(app, f"Person {n}") for n in range(3)]
    for person in people:
        client = browser(app)
        client.sign_in(person)
        client.submit("/auth/logout")
        assert [sign_in(client, person, WRONG) for _ in range(5)] == [401] * 5
    assert not is_slow(app)
    spray(11)
    assert is_slow(app)


@pytest.mark.usefixtures("low")
def test_slow_mode_ends_by_itself(api: Api, alice: Person, spray: Spray) -> None:
    spray(11)
    with time_machine.travel(now() + timedelta(minutes=15, seconds=5), tick=False):
        assert not is_slow(api.app)
        assert guesses(api, alice.email, 11) == [401] * 10 + [429]


@pytest.mark.real_database
@pytest.mark.usefixtures("low")
def test_slow_mode_is_told_where_the_system_is(
    app: Flask, spray: Spray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "HEALTH_TOKEN", "a token for the health")
    headers = {"Authorization": "Bearer a token for the health"}

    def check() -> dict[str, str]:
        checks = app.test_client().get("/health/detailed", headers=headers).get_json()["checks"]
        return next(found for found in checks if found["name"] == "guesses")

    assert check()["status"] == "pass"
    spray(11)
    assert check()["status"] == "warn"
    assert "fewer tries for 15 minutes" in check()["detail"]


@pytest.mark.usefixtures("low")
def test_switched_off_there_is_no_slow_mode(
    app: Flask, spray: Spray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "RATELIMIT_ENABLED", False)
    assert spray(15) == [401] * 15
    assert not is_slow(app)


@pytest.mark.real_database
@pytest.mark.usefixtures("low")
def test_failures_at_one_process_slow_the_others_down(app: Flask, api: Api, spray: Spray) -> None:
    del api
    other = create_app("testing", DATABASE_URL=app.config["SQLALCHEMY_DATABASE_URI"], **POOL)
    try:
        assert guesses(Api(other), "nobody@example.com", 2) == [401] * 2
        spray(11)
        assert is_slow(other)
        assert guesses(Api(other), "somebody@example.com", 2) == [401, 429]
    finally:
        dispose(other)


@pytest.mark.usefixtures("low")
def test_a_process_slows_down_by_itself_while_the_counters_are_away(
    app: Flask, spray: Spray, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = app.extensions["counters"]

    def away(*given: object, **more: object) -> int:
        raise StorageError(ConnectionError("gone"))

    for name in ("incr", "get", "get_expiry", "clear"):
        monkeypatch.setattr(counters.storage, name, away)
    try:
        spray(11)
        assert is_slow(app)
    finally:
        counters.fallback.reset()
        counters.is_away = False
