"""Refresh tokens: exchanged once, given again where the answer was lost, ended where two hold a copy (A48 to A50)."""

import threading
from datetime import timedelta
from typing import Any

import jwt
import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, text

from models import db
from models.base import now
from models.outbox import OutboxMail
from services.base_service import unit_of_work
from tests.clients import Api
from tests.conftest import counted
from tests.factories import Person
from tests.state import wait_for_a_lock


@pytest.fixture
def signed_in(api: Api, alice: Person) -> dict[str, Any]:
    answer = api.post("/auth/login", {"email": alice.email, "password": alice.password})
    data: dict[str, Any] = answer.json["data"]
    return data


def me(api: Api, token: str) -> Any:
    return Api(api.app, token).get("/users/me")


def used_seconds_ago(app: Flask, seconds: int) -> None:
    """Refresh tokens were used so long ago, by the database's clock, which is the one that counts."""
    with app.app_context(), unit_of_work():
        db.session.execute(
            text("UPDATE refresh_tokens SET used_at = used_at - make_interval(secs => :s)"), {"s": seconds}
        )


def refreshing(api: Api, pair: dict[str, Any]) -> Any:
    return api.post("/auth/refresh", {"refresh_token": pair["refresh_token"]})


def refreshed(api: Api, pair: dict[str, Any]) -> dict[str, Any]:
    answer = refreshing(api, pair)
    assert answer.status_code == 200, answer.json
    data: dict[str, Any] = answer.json["data"]
    return data


def mails_to(api: Api, person: Person) -> str:
    with api.app.app_context():
        kinds = db.session.scalars(select(OutboxMail.kind).where(OutboxMail.to_address == person.email)).all()
    return " ".join(kinds)


def ended_as_a_copy(api: Api, owner: Person, copied: dict[str, Any], newest: dict[str, Any]) -> None:
    """Presenting `copied` now ends the session, and its owner is told."""
    refused(refreshing(api, copied), "TOKEN_REUSED")
    refused(refreshing(api, newest))
    assert me(api, newest["access_token"]).status_code == 401
    assert "refresh_token_reused" in mails_to(api, owner)


def refused(answer: Any, code: str = "INVALID_TOKEN") -> None:
    assert answer.status_code == 401
    assert answer.json["error"]["code"] == code
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_refresh_token_rotates(api: Api, signed_in: dict[str, Any]) -> None:
    pair = refreshing(api, signed_in).json["data"]
    assert pair["refresh_token"] != signed_in["refresh_token"]
    assert me(api, pair["access_token"]).status_code == 200


def test_the_same_refresh_within_thirty_seconds_gives_the_same_successor(
    api: Api, signed_in: dict[str, Any]
) -> None:
    first = refreshed(api, signed_in)
    assert me(api, first["access_token"]).status_code == 200
    used_seconds_ago(api.app, 29)
    assert refreshed(api, signed_in)["refresh_token"] == first["refresh_token"]
    assert me(api, first["access_token"]).status_code == 200


@pytest.mark.parametrize("seconds", [11, 31, 599])
def test_a_lost_answer_is_given_again_until_it_arrives(
    api: Api, alice: Person, signed_in: dict[str, Any], seconds: int
) -> None:
    lost = refreshed(api, signed_in)
    used_seconds_ago(api.app, seconds)
    again = refreshed(api, signed_in)
    assert again["refresh_token"] == lost["refresh_token"]
    assert me(api, again["access_token"]).status_code == 200
    assert "refresh_token_reused" not in mails_to(api, alice)
    assert refreshed(api, again)["refresh_token"] != again["refresh_token"]


def test_a_lost_answer_is_given_again_however_often_it_is_lost(api: Api, signed_in: dict[str, Any]) -> None:
    lost = refreshed(api, signed_in)
    for _ in range(3):
        used_seconds_ago(api.app, 100)
        assert refreshed(api, signed_in)["refresh_token"] == lost["refresh_token"]


def test_giving_an_answer_again_makes_the_ten_minutes_no_longer(
    api: Api, alice: Person, signed_in: dict[str, Any]
) -> None:
    refreshed(api, signed_in)
    used_seconds_ago(api.app, 599)
    pair = refreshed(api, signed_in)
    used_seconds_ago(api.app, 2)
    ended_as_a_copy(api, alice, signed_in, pair)


def test_after_ten_minutes_a_refresh_token_used_again_is_a_copy(
    api: Api, alice: Person, signed_in: dict[str, Any]
) -> None:
    pair = refreshed(api, signed_in)
    used_seconds_ago(api.app, 601)
    ended_as_a_copy(api, alice, signed_in, pair)


def test_a_refresh_token_used_again_after_its_access_token_is_a_copy(
    api: Api, alice: Person, signed_in: dict[str, Any]
) -> None:
    pair = refreshed(api, signed_in)
    assert me(api, pair["access_token"]).status_code == 200
    used_seconds_ago(api.app, 31)
    ended_as_a_copy(api, alice, signed_in, pair)


def test_an_access_token_presented_with_a_refused_call_was_presented(
    api: Api, alice: Person, signed_in: dict[str, Any]
) -> None:
    pair = refreshed(api, signed_in)
    refusal = Api(api.app, pair["access_token"]).patch("/users/me", {"name": ""})
    assert refusal.status_code == 422
    used_seconds_ago(api.app, 31)
    ended_as_a_copy(api, alice, signed_in, pair)


def test_the_access_token_of_a_repeated_answer_counts_as_well(
    api: Api, alice: Person, signed_in: dict[str, Any]
) -> None:
    refreshed(api, signed_in)
    used_seconds_ago(api.app, 31)
    pair = refreshed(api, signed_in)
    assert me(api, pair["access_token"]).status_code == 200
    ended_as_a_copy(api, alice, signed_in, pair)


def test_an_access_token_from_before_says_nothing_about_the_answer(
    api: Api, signed_in: dict[str, Any]
) -> None:
    before = refreshed(api, signed_in)
    lost = refreshed(api, before)
    assert me(api, before["access_token"]).status_code == 200
    assert me(api, signed_in["access_token"]).status_code == 200
    used_seconds_ago(api.app, 31)
    assert refreshed(api, before)["refresh_token"] == lost["refresh_token"]


@pytest.mark.parametrize("seconds", [0, 5, 31])
def test_an_older_generation_is_a_copy_at_once(
    api: Api, alice: Person, signed_in: dict[str, Any], seconds: int
) -> None:
    newest = refreshed(api, refreshed(api, signed_in))
    used_seconds_ago(api.app, seconds)
    ended_as_a_copy(api, alice, signed_in, newest)


def test_an_older_generation_is_a_copy_after_its_own_end_too(
    api: Api, alice: Person, signed_in: dict[str, Any]
) -> None:
    start = now()
    with time_machine.travel(start + timedelta(days=10)):
        pair = refreshed(api, signed_in)
    used_seconds_ago(api.app, 5 * 86_400)
    with time_machine.travel(start + timedelta(days=15)):
        ended_as_a_copy(api, alice, signed_in, pair)


def test_a_copy_is_in_the_audit_log(api: Api, alice: Person, ada: Person, signed_in: dict[str, Any]) -> None:
    pair = refreshed(api, signed_in)
    used_seconds_ago(api.app, 601)
    ended_as_a_copy(api, alice, signed_in, pair)
    events = api.as_(ada).get("/audit-events?filter[action]=account:token:reuse").json["data"]
    assert [event["target_id"] for event in events] == [alice.id]


def test_the_first_use_costs_a_read_no_statement(api: Api, signed_in: dict[str, Any]) -> None:
    pair = refreshed(api, signed_in)
    for _ in range(2):
        with counted() as statements:
            assert me(api, pair["access_token"]).status_code == 200
        assert len(statements) == 2, statements


def test_the_session_of_another_account_is_not_noted(
    api: Api, bob: Person, signed_in: dict[str, Any]
) -> None:
    """A token that never was: right signature, somebody else's session."""
    pair = refreshed(api, signed_in)
    claims = jwt.decode(pair["access_token"], options={"verify_signature": False})
    forged = jwt.encode(
        {**claims, "sub": str(bob.id)}, api.app.config["JWT_SECRET_KEY"], headers={"typ": "at+jwt"}
    )
    refused(me(api, forged))
    used_seconds_ago(api.app, 31)
    assert refreshed(api, signed_in)["refresh_token"] == pair["refresh_token"]


def test_a_repeated_answer_ends_when_the_first_would_have(api: Api, signed_in: dict[str, Any]) -> None:
    start = now()
    lost = refreshed(api, signed_in)
    with time_machine.travel(start + timedelta(seconds=500)):
        again = refreshed(api, signed_in)
    with time_machine.travel(start + timedelta(days=14, seconds=250)):
        refused(refreshing(api, again))
    assert again["refresh_token"] == lost["refresh_token"]


def test_a_lost_answer_is_found_under_a_former_key(api: Api, signed_in: dict[str, Any]) -> None:
    lost, former = refreshed(api, signed_in), api.app.config["SECRET_KEY"]
    api.app.config.update(SECRET_KEY="another key, thirty-two long ones", SECRET_KEY_FALLBACKS=[former])
    try:
        assert refreshed(api, signed_in)["refresh_token"] == lost["refresh_token"]
    finally:
        api.app.config.update(SECRET_KEY=former, SECRET_KEY_FALLBACKS=[])


def test_an_exchange_by_the_code_before_this_is_no_lost_answer(
    api: Api, alice: Person, signed_in: dict[str, Any]
) -> None:
    """While a release rolls out: who knows nothing of generations notes no first use either."""
    pair = refreshed(api, signed_in)
    with api.app.app_context(), unit_of_work():
        db.session.execute(text("UPDATE refresh_tokens SET generation = 0"))
    assert refreshed(api, signed_in)["refresh_token"] == pair["refresh_token"]
    used_seconds_ago(api.app, 31)
    ended_as_a_copy(api, alice, signed_in, pair)


def test_a_family_ends_after_thirty_days_however_often_it_rotates(
    api: Api, signed_in: dict[str, Any]
) -> None:
    start, token = now(), signed_in["refresh_token"]
    for days in (10, 20, 29):
        with time_machine.travel(start + timedelta(days=days)):
            token = api.post("/auth/refresh", {"refresh_token": token}).json["data"]["refresh_token"]
    with time_machine.travel(start + timedelta(days=30, seconds=1)):
        refused(api.post("/auth/refresh", {"refresh_token": token}))


def test_a_refresh_token_idle_for_fourteen_days_is_refused(api: Api, signed_in: dict[str, Any]) -> None:
    with time_machine.travel(now() + timedelta(days=14, seconds=1)):
        refused(refreshing(api, signed_in))


def test_an_unknown_refresh_token_is_refused(api: Api) -> None:
    refused(api.post("/auth/refresh", {"refresh_token": "x" * 43}))


@pytest.mark.real_database
def test_ten_refreshes_at_once_give_one_successor(app: Flask, api: Api, alice: Person) -> None:
    token = api.post("/auth/login", {"email": alice.email, "password": alice.password}).json["data"][
        "refresh_token"
    ]
    answers: list[Any] = []

    def refresh() -> None:
        answers.append(Api(app).post("/auth/refresh", {"refresh_token": token}))

    threads = [threading.Thread(target=refresh) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json["data"]["refresh_token"] for answer in answers}) == 1


@pytest.mark.real_database
def test_ten_repeats_of_a_lost_answer_at_once_give_one_successor(app: Flask, api: Api, alice: Person) -> None:
    start = api.post("/auth/login", {"email": alice.email, "password": alice.password}).json["data"]
    lost = refreshed(api, start)
    used_seconds_ago(app, 100)
    pairs: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: pairs.append(refreshed(Api(app), start))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [pair["refresh_token"] for pair in pairs] == [lost["refresh_token"]] * 10


@pytest.mark.real_database
def test_a_repeat_waits_for_a_first_use_under_way(app: Flask, api: Api, alice: Person) -> None:
    start = api.post("/auth/login", {"email": alice.email, "password": alice.password}).json["data"]
    refreshed(api, start)
    used_seconds_ago(app, 31)
    answers: list[Any] = []
    copy = threading.Thread(target=lambda: answers.append(refreshing(api, start)))
    with app.app_context(), db.engine.begin() as first_use:
        first_use.execute(text("UPDATE sessions SET presented_generation = 1"))
        copy.start()
        wait_for_a_lock()
    copy.join()
    refused(answers[0], "TOKEN_REUSED")


@pytest.mark.real_database
def test_a_first_use_is_kept_where_its_call_comes_to_nothing(app: Flask, api: Api, alice: Person) -> None:
    start = api.post("/auth/login", {"email": alice.email, "password": alice.password}).json["data"]
    pair = refreshed(api, start)
    assert Api(app, pair["access_token"]).post("/users", {}).status_code == 403
    with app.app_context():
        assert db.session.scalar(text("SELECT presented_generation FROM sessions")) == 1


@pytest.mark.real_database
def test_a_read_goes_on_where_its_first_use_can_not_be_noted(app: Flask, api: Api, alice: Person) -> None:
    start = api.post("/auth/login", {"email": alice.email, "password": alice.password}).json["data"]
    pair = refreshed(api, start)
    with app.app_context(), db.engine.connect() as connection:
        name = connection.execute(text("SELECT current_database()")).scalar_one()
        connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
        connection.commit()
        db.session.remove()
        connection.close()
        db.engine.dispose()
        assert me(api, pair["access_token"]).status_code == 200
        assert me(api, pair["access_token"]).status_code == 200
        assert db.session.scalar(text("SELECT presented_generation FROM sessions")) == 0
        db.session.remove()
        with db.engine.connect() as again:
            again.execute(text("SET TRANSACTION READ WRITE"))
            again.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = off'))
            again.commit()
        db.engine.dispose()
        assert me(api, pair["access_token"]).status_code == 200
        assert db.session.scalar(text("SELECT presented_generation FROM sessions")) == 1
