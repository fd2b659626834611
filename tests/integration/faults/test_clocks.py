"""Instances whose clocks differ (F30): 20 seconds matter to nobody, 90 give a clear 401 and end no session."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine

from models.base import now
from tests.clients import Api
from tests.factories import Person

pytestmark = pytest.mark.integration


@pytest.fixture
def signed_in(api: Api, alice: Person) -> dict[str, Any]:
    """Tokens of an instance whose clock is right."""
    answer = api.post("/auth/login", {"email": alice.email, "password": alice.password})
    data: dict[str, Any] = answer.json["data"]
    return data


def me(api: Api, tokens: dict[str, Any]) -> Any:
    return Api(api.app, tokens["access_token"]).get("/users/me")


@pytest.mark.parametrize("seconds", [-20, 20])
def test_twenty_seconds_matter_to_nobody(api: Api, signed_in: dict[str, Any], seconds: int) -> None:
    token = {"refresh_token": signed_in["refresh_token"]}
    with time_machine.travel(now() + timedelta(seconds=seconds)):
        assert me(api, signed_in).status_code == 200
        pair = api.post("/auth/refresh", token).json["data"]
        assert me(api, pair).status_code == 200
    assert me(api, pair).status_code == 200
    again = api.post("/auth/refresh", token)
    assert again.json["data"]["refresh_token"] == pair["refresh_token"], "a repeated call, not a copied token"
    with time_machine.travel(now() + timedelta(seconds=seconds)):
        assert api.post("/auth/refresh", token).status_code == 200


def test_ninety_seconds_are_a_clear_401_and_no_session_ends(api: Api, alice: Person) -> None:
    with time_machine.travel(now() + timedelta(seconds=90)):
        ahead = api.post("/auth/login", {"email": alice.email, "password": alice.password}).json["data"]
    refused = me(api, ahead)
    assert (refused.status_code, refused.json["error"]["code"]) == (401, "INVALID_TOKEN")
    assert "invalid_token" in refused.headers["WWW-Authenticate"]
    pair = api.post("/auth/refresh", {"refresh_token": ahead["refresh_token"]}).json["data"]
    with time_machine.travel(now() + timedelta(seconds=-90)):
        assert me(api, pair).status_code == 401
    assert me(api, pair).status_code == 200
