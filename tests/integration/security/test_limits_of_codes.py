"""However long and by whatever door somebody guesses at a second step: five, twenty, fifty (A75)."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask

from models.base import now
from services import factor_service
from services.errors import RateLimited
from tests.clients import Api
from tests.factories import Person
from tests.integration.api.test_second_factor import challenge, code_of, enrolled, verify


def tries(app: Flask, person: Person, most: int) -> int:
    """How many of `most` tries are looked at."""
    with app.app_context():
        for done in range(most):
            try:
                factor_service.spend_try(person.id)
            except RateLimited:
                return done
    return most


def test_fifty_tries_a_day_twenty_an_hour_five_in_five_minutes(app: Flask, alice: Person) -> None:
    start = now()
    by_minute: dict[int, int] = {}
    for minute in range(0, 24 * 60, 6):
        with time_machine.travel(start + timedelta(minutes=minute), tick=False):
            by_minute[minute] = tries(app, alice, 6)
    assert max(by_minute.values()) == 5
    assert sum(count for minute, count in by_minute.items() if minute < 60) == 20
    assert sum(by_minute.values()) == 50
    with time_machine.travel(start + timedelta(hours=25), tick=False):
        assert tries(app, alice, 1) == 1


@pytest.mark.usefixtures("early_in_a_step")
def test_another_sign_in_and_another_door_begin_no_new_count(api: Api, alice: Person) -> None:
    secret, codes = enrolled(api, alice)
    wrong = f"{(int(code_of(secret)) + 1) % 10**6:06}"
    statuses: list[int] = []
    for _ in range(6):
        statuses.append(verify(api, challenge(api, alice), code=wrong).status_code)
    assert 429 in statuses
    page: Any = api.app.test_client()
    page.sign_in(alice)
    assert page.submit("/auth/second-factor?with=recovery-code", recovery_code=codes[0]).status_code == 429
    assert verify(api, challenge(api, alice), recovery_code=codes[0]).status_code == 429
