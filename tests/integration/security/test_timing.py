"""Two thousand failing sign-ins of each kind, in turns: the clock tells no kind from another (A15, CVE-2024-39329)."""

import random
import statistics
import time

import pytest
from flask import Flask

from tests.clients import Api
from tests.factories import make_person

SAMPLES = 2000
BOOTSTRAPS = 1000
#: Milliseconds that the difference may be, with 95 % confidence.
MOST = 3.0


def interval(one: list[float], other: list[float]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the difference at the 10th percentile, in milliseconds."""
    dice = random.Random(20261121)
    differences = sorted(
        _tenth(dice.choices(one, k=len(one))) - _tenth(dice.choices(other, k=len(other)))
        for _ in range(BOOTSTRAPS)
    )
    return differences[int(0.025 * BOOTSTRAPS)], differences[int(0.975 * BOOTSTRAPS) - 1]


def _tenth(values: list[float]) -> float:
    return sorted(values)[len(values) // 10]


@pytest.mark.slow
@pytest.mark.real_database
@pytest.mark.timeout(600)
def test_no_clock_tells_known_unknown_and_passwordless_accounts_apart(app: Flask, api: Api) -> None:
    """With cheap hashes, which each of them pays: what is left is what tells, and none of the noise of hashing."""
    app.config["RATELIMIT_ENABLED"] = False
    known = make_person(app, "Known Person")
    without = make_person(app, "No Password", password_hash=None)
    taken: dict[str, list[float]] = {known.email: [], without.email: [], "nobody@example.com": []}
    try:
        for number in range(SAMPLES + 50):
            for email, times in random.sample(sorted(taken.items()), len(taken)):
                began = time.perf_counter()
                answer = api.post("/auth/login", {"email": email, "password": "wrong horse battery"})
                spent = (time.perf_counter() - began) * 1000
                assert answer.status_code == 401
                if number >= 50:  # warm
                    times.append(spent)
    finally:
        app.config["RATELIMIT_ENABLED"] = True
    unknown = taken["nobody@example.com"]
    for email in (known.email, without.email):
        low, high = interval(taken[email], unknown)
        assert -MOST < low <= high < MOST, (email, low, high, statistics.median(taken[email]))


def test_the_interval_would_show_a_difference() -> None:
    dice = random.Random(1)
    slower = [dice.gauss(9, 1) for _ in range(300)]
    quicker = [dice.gauss(5, 1) for _ in range(300)]
    low, _ = interval(slower, quicker)
    assert low > MOST
