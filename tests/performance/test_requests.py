"""What requests cost in the process, without a server: ./run bench."""

from itertools import count

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.performance.conftest import Call

pytestmark = pytest.mark.performance

numbers = count(2)


def test_the_probe(call: Call, benchmark: BenchmarkFixture) -> None:
    benchmark(call, "GET", "/health")


def test_one_user(call: Call, benchmark: BenchmarkFixture) -> None:
    assert b'"email"' in benchmark(lambda: call("GET", f"/api/v1/users/{next(numbers) % 9000 + 2}"))


def test_a_page_of_twenty_users(call: Call, benchmark: BenchmarkFixture) -> None:
    assert b'"page":7' in benchmark(call, "GET", "/api/v1/users", "page=7&per_page=20")


def test_a_page_by_cursor(call: Call, benchmark: BenchmarkFixture) -> None:
    assert b"cursor=" in benchmark(call, "GET", "/api/v1/users", "cursor=")


def test_a_search(call: Call, benchmark: BenchmarkFixture) -> None:
    assert b"user777" in benchmark(call, "GET", "/api/v1/users", "q=user777")


def test_a_change_of_a_user(call: Call, benchmark: BenchmarkFixture) -> None:
    def change() -> bytes:
        number = next(numbers)
        return call("PATCH", f"/api/v1/users/{number % 9000 + 2}", body=b'{"name":"Name %d"}' % number)

    assert b'"success":true' in benchmark(change)
