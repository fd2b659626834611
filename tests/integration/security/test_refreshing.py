"""Refresh tokens: exchanged once, given again where the answer was lost, ended where two hold a copy (A48 to A50)."""

import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import text

from models import db
from models.base import now
from services.base_service import unit_of_work
from tests.clients import Api
from tests.factories import Person


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


def refused(answer: Any, code: str = "INVALID_TOKEN") -> None:
    assert answer.status_code == 401
    assert answer.json["error"]["code"] == code
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_refresh_token_rotates(api: Api, signed_in: dict[str, Any]) -> None:
    pair = api.post("/auth/refresh", {"refresh_token": signed_in["refresh_token"]}).json["data"]
    assert pair["refresh_token"] != signed_in["refresh_token"]
    assert me(api, pair["access_token"]).status_code == 200


def test_the_same_refresh_within_ten_seconds_gives_the_same_successor(
    api: Api, signed_in: dict[str, Any]
) -> None:
    first = api.post("/auth/refresh", {"refresh_token": signed_in["refresh_token"]}).json["data"]
    used_seconds_ago(api.app, 9)
    second = api.post("/auth/refresh", {"refresh_token": signed_in["refresh_token"]}).json["data"]
    assert second["refresh_token"] == first["refresh_token"]
    assert me(api, first["access_token"]).status_code == 200


def test_a_refresh_token_used_again_later_ends_the_family_and_tells_the_owner(
    api: Api, alice: Person, ada: Person, signed_in: dict[str, Any]
) -> None:
    pair = api.post("/auth/refresh", {"refresh_token": signed_in["refresh_token"]}).json["data"]
    used_seconds_ago(api.app, 12)
    refused(api.post("/auth/refresh", {"refresh_token": signed_in["refresh_token"]}), "TOKEN_REUSED")
    refused(api.post("/auth/refresh", {"refresh_token": pair["refresh_token"]}))
    refused(me(api, pair["access_token"]))
    events = api.as_(ada).get("/audit-events?filter[action]=account:token:reuse").json["data"]
    assert [event["target_id"] for event in events] == [alice.id]
    mails: Any = api.app.test_client().get("/dev/mail.json").json
    assert mails[0]["to"] == alice.email


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
        refused(api.post("/auth/refresh", {"refresh_token": signed_in["refresh_token"]}))


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
