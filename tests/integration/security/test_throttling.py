"""Guessing at one account: growing waits, no lock, the same whether or not there is an account (A17, A18, A21)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import event

from app import create_app
from models import User, db
from models.base import now
from services import guess_service, password_service
from services.base_service import unit_of_work
from services.errors import Unavailable
from tests.clients import Api, PageClient
from tests.conftest import POOL, dispose
from tests.factories import Person, make_person
from tests.integration.api.test_second_factor import code_of, enrolled
from tests.integration.pages.desk import NEW_PASSWORD, subjects
from tests.integration.security.guessing import WRONG, besiege, counters, events, failures, guess, guesses

GUESSED = "Somebody is guessing your password"
WAITS = [30, 60, 120, 240, 480, 900, 900]


def at(moment: Any, seconds: float) -> Any:
    return time_machine.travel(moment + timedelta(seconds=seconds), tick=False)


# -------------------------------------------------------------------------------------------------- the waits


@pytest.mark.parametrize("is_known", [True, False])
def test_each_failure_after_the_tenth_makes_the_next_try_wait_longer(
    api: Api, alice: Person, is_known: bool
) -> None:
    email = alice.email if is_known else "nobody@example.com"
    moment = now()
    with at(moment, 0):
        assert guesses(api, email, 10) == [401] * 10
    for wait in WAITS:
        with at(moment, wait - 1):
            refused = guess(api, email)
            assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        moment += timedelta(seconds=wait)
        with at(moment, 0):
            assert guess(api, email).status_code == 401


def test_tries_that_are_refused_make_nobody_wait_longer(api: Api, alice: Person) -> None:
    guesses(api, alice.email, 15)
    assert failures(api.app) == [10]
    with at(now(), 31):
        assert guess(api, alice.email, alice.password).status_code == 200


def test_no_password_is_looked_at_while_somebody_waits(
    api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    guesses(api, alice.email, 10)
    looked = []
    monkeypatch.setattr(password_service, "verify", lambda *given: looked.append(given))
    assert guess(api, alice.email, alice.password).status_code == 429
    assert not looked


def test_the_right_password_starts_anew(api: Api, alice: Person) -> None:
    for _ in range(3):
        assert guesses(api, alice.email, 4) == [401] * 4
        assert guess(api, alice.email, alice.password).status_code == 200
    assert failures(api.app) == []


def test_nothing_is_left_of_failures_after_a_day(app: Flask, api: Api, alice: Person) -> None:
    moment = now()
    guesses(api, alice.email, 10)
    with at(moment, 24 * 3600 + 60):
        assert guesses(api, alice.email, 11) == [401] * 10 + [429]
    with app.app_context(), unit_of_work():
        assert guess_service.purge() == 0
    with at(moment, 49 * 3600), app.app_context(), unit_of_work():
        assert guess_service.purge() == 1


def test_a_suspended_account_counts_the_right_password_as_any_other(api: Api) -> None:
    person = make_person(api.app, "Sus Pended", is_active=False, suspended_at=now())
    codes = [guess(api, person.email, person.password).status_code for _ in range(11)]
    assert codes == [401] * 10 + [429]


def test_switched_off_nothing_counts(api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(api.app.config, "RATELIMIT_ENABLED", False)
    assert guesses(api, alice.email, 12) == [401] * 12
    assert failures(api.app) == []


def test_a_password_that_nobody_could_look_at_counts_for_nothing(
    api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*given: object, **costs: object) -> bool:
        raise Unavailable(retry_after_seconds=2)

    with monkeypatch.context() as patched:
        patched.setattr(password_service, "verify", away)
        assert [guess(api, alice.email).status_code for _ in range(30)] == [503] * 30
    assert guesses(api, alice.email, 11) == [401] * 10 + [429]


# ------------------------------------------------------------------------------------------- whose count it is


@pytest.mark.parametrize("is_known", [True, False])
def test_spellings_of_one_address_count_as_one(api: Api, is_known: bool) -> None:
    spellings = [
        "renée@bücher.example.org",
        "RENéE@BÜCHER.EXAMPLE.ORG",
        " renée@bücher.example.org ",
        "rene\u0301e@bu\u0308cher.example.org",
        "renée@xn--bcher-kva.example.org",
    ]
    if is_known:
        make_person(api.app, "Renée Dubois", email=spellings[0])
    assert [guess(api, spelling).status_code for spelling in spellings * 2] == [401] * 10
    assert [guess(api, spelling).status_code for spelling in spellings] == [429] * 5


@pytest.mark.parametrize("letter", ["É", "Ä", "İ", "ẞ", "Ω", "ﬀ"])
def test_no_spelling_tells_an_account_from_none(api: Api, letter: str) -> None:
    """What the database takes as the same letter, it takes so for those who have an account and those who have not."""
    make_person(api.app, "Known Person", email=f"known{letter.lower()}@example.com")
    told = [
        [guess(api, f"{name}{spelt}@example.com").status_code for _ in range(3) for spelt in spellings]
        for name in ("known", "other")
        for spellings in ((letter, letter.lower()),)
    ]
    assert told[0] == told[1]


def test_guesses_before_an_account_is_made_do_not_tell_that_it_was(api: Api) -> None:
    email = "dora@example.com"
    guesses(api, email, 10)
    make_person(api.app, "Dora", email=email)
    assert guess(api, email).status_code == 429


def test_the_counters_hold_no_address(app: Flask, api: Api, alice: Person) -> None:
    guesses(api, alice.email, 1)
    row = counters(app)[0]
    assert len(row.account) == 32
    assert row.device == b""
    assert alice.email.encode() not in row.account


def test_the_account_of_a_neighbour_is_left_alone(api: Api, alice: Person, bob: Person) -> None:
    guesses(api, alice.email, 11)
    assert guess(api, bob.email, bob.password).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/auth/reauthenticate", {"password": WRONG}),
        ("/users/me/password", {"current_password": WRONG, "new_password": NEW_PASSWORD}),
        ("/users/me/email", {"current_password": WRONG, "email": "new@example.com"}),
    ],
)
def test_no_door_of_a_program_gives_more_tries_than_another(
    api: Api, alice: Person, path: str, body: dict[str, str]
) -> None:
    caller = api.as_(alice)
    assert guesses(api, alice.email, 5) == [401] * 5
    assert [caller.post(path, body).status_code for _ in range(5)] == [403] * 5
    assert guess(api, alice.email, alice.password).status_code == 429
    right = {name: alice.password if value == WRONG else value for name, value in body.items()}
    refused = caller.post(path, right)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0


PAGES = {
    "/auth/reauthenticate": {"password": WRONG},
    "/account/password": {"current_password": WRONG, "new_password": NEW_PASSWORD},
    "/account/email": {"current_password": WRONG, "email": "new@example.com"},
    "/account/delete": {"current_password": WRONG},
    "/admin/users/{bob}/delete": {"current_password": WRONG},
}


@pytest.mark.parametrize("door", PAGES)
def test_no_page_gives_more_tries_than_another(
    client: PageClient, ada: Person, bob: Person, door: str
) -> None:
    client.sign_in(ada)
    others = [page for page in PAGES if page != door]
    for page in [*others, door] * 2:
        path = page.format(bob=bob.id)
        assert client.submit(path, **PAGES[page]).status_code == 403, page
    path = door.format(bob=bob.id)
    right = {name: ada.password if value == WRONG else value for name, value in PAGES[door].items()}
    assert client.submit(path, **right).status_code == 429


@pytest.mark.usefixtures("early_in_a_step")
def test_codes_to_confirm_who_one_is_count_with_those_of_the_sign_in(api: Api, alice: Person) -> None:
    secret, _ = enrolled(api, alice)
    caller = api.as_(alice)
    wrong = f"{(int(code_of(secret)) + 1) % 10**6:06}"
    tries = [caller.post("/auth/reauthenticate", {"code": wrong}).status_code for _ in range(5)]
    assert tries == [403] * 4 + [429]  # the code that set the app up was a try too
    assert caller.post("/auth/reauthenticate", {"code": code_of(secret)}).status_code == 429
    assert caller.post("/auth/reauthenticate", {"password": alice.password}).status_code == 200


# ------------------------------------------------------------------------------------------- the owner is told


def test_the_owner_is_told_once_of_a_hundred_failures(app: Flask, api: Api, alice: Person) -> None:
    moment = now()
    for number in range(104):
        with at(moment, 901 * number):
            assert guess(api, alice.email).status_code == 401
            assert guess(api, "nobody@example.com").status_code == 401
        assert subjects(app, alice.email) == ([GUESSED] if number >= 99 else [])
    assert subjects(app, "nobody@example.com") == []
    assert events(app, "account:login:guessed") == 1
    with at(moment, 901 * 105):
        assert guess(api, alice.email, alice.password).status_code == 200


@pytest.mark.parametrize("columns", [{"email_verified": False}, {"is_active": False, "suspended_at": now()}])
def test_nobody_is_told_who_could_not_sign_in_anyway(api: Api, columns: dict[str, Any]) -> None:
    person = make_person(api.app, "Quiet Person", **columns)
    guess(api, person.email)
    with api.app.extensions["counter_engine"].connect() as connection:
        connection.exec_driver_sql("UPDATE password_tries SET failures = 200, waits_until = NULL")
    assert guess(api, person.email).status_code == 401
    assert GUESSED not in subjects(api.app, person.email)


# ---------------------------------------------------------------------------------------- many at once, restarts


@pytest.mark.real_database
@pytest.mark.parametrize("is_known", [True, False])
def test_of_fifty_guesses_at_once_ten_are_looked_at(api: Api, alice: Person, is_known: bool) -> None:
    email = alice.email if is_known else "nobody@example.com"
    with ThreadPoolExecutor(10) as pool:
        answers = pool.map(lambda n: guess(api, email, address=f"198.51.100.{n}").status_code, range(50))
        codes = sorted(answers)
    assert codes == [401] * 10 + [429] * 40
    assert failures(api.app) == [10]


@pytest.mark.real_database
def test_once_the_wait_is_over_one_of_many_gets_the_next_try(api: Api, alice: Person) -> None:
    guesses(api, alice.email, 10)
    with time_machine.travel(now() + timedelta(seconds=31)), ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda n: guess(api, alice.email, address=f"198.51.100.{n}").status_code, range(16)
        )
        codes = sorted(answers)
    assert codes == [401] + [429] * 15


@pytest.mark.real_database
def test_a_new_process_knows_of_the_failures(app: Flask, api: Api, alice: Person) -> None:
    guesses(api, alice.email, 10)
    other = create_app("testing", DATABASE_URL=app.config["SQLALCHEMY_DATABASE_URI"], **POOL)
    try:
        assert guess(Api(other), alice.email, alice.password).status_code == 429
    finally:
        dispose(other)


def test_failures_outlive_the_requests_that_are_rolled_back(api: Api, alice: Person) -> None:
    """The count commits by itself: whatever becomes of the request, the try was one."""
    token = api.as_(alice)
    weak = {"current_password": WRONG, "new_password": "short"}
    assert {token.post("/users/me/password", weak).status_code for _ in range(10)} == {403}
    assert guess(api, alice.email, alice.password).status_code == 429


# ---------------------------------------------------------------------------------------------- what it costs


def test_a_sign_in_costs_five_statements_of_counting_and_on_a_known_device_two(
    app: Flask, api: Api, client: PageClient, alice: Person
) -> None:
    sent: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        del conn, cursor, rest
        sent.append(statement.split(maxsplit=1)[0])

    engine = app.extensions["counter_engine"]
    event.listen(engine, "before_cursor_execute", note)
    try:
        assert guess(api, alice.email, alice.password).status_code == 200
        assert len(sent) == 5
        sent.clear()
        assert guess(api, alice.email).status_code == 401
        assert len(sent) == 4
        client.sign_in(alice)
        client.submit("/auth/logout")
        sent.clear()
        client.sign_in(alice)
        assert len(sent) == 2
        sent.clear()
        assert client.get("/dashboard").status_code == 200
        assert api.as_(alice).get("/users/me").status_code == 200
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert not sent


def test_an_account_without_a_password_counts_alike(app: Flask, api: Api, alice: Person) -> None:
    with app.app_context(), unit_of_work():
        db.session.get_one(User, alice.id).password_hash = None
    assert guesses(api, alice.email, 11) == [401] * 10 + [429]


def test_the_siege_of_the_other_tests_is_one(api: Api, alice: Person) -> None:
    besiege(api, alice.email)
    assert guess(api, alice.email, alice.password, address="192.0.2.1").status_code == 429
