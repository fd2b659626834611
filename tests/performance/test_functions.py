"""What the dear functions cost: ./run bench."""

from uuid import uuid4

import pytest
from flask import Flask
from pytest_benchmark.fixture import BenchmarkFixture

from services import password_service, token_service
from services.password_service import Hashing
from services.schemas.auth import RegisterIn

pytestmark = pytest.mark.performance

GOOD = b'{"email":"new@example.com","name":"New Person","password":"lantern orchid gravel nine"}'


def test_a_password_hash_at_its_production_cost(benchmark: BenchmarkFixture) -> None:
    hashing = Hashing(memory_kib=19456, time_cost=2)
    assert benchmark(hashing.hasher.hash, "lantern orchid gravel nine").startswith("$argon2id$")


def test_judging_a_password(filled_app: Flask, benchmark: BenchmarkFixture) -> None:
    with filled_app.app_context():
        benchmark(
            password_service.check_strength, "lantern orchid gravel nine", email="a@example.com", name="Ann"
        )


def test_an_access_token_seen_before(filled_app: Flask, benchmark: BenchmarkFixture) -> None:
    with filled_app.app_context():
        token = token_service.make_access_token(1, uuid4(), generation=0)
        assert benchmark(token_service.read_access_token, token).user_id == 1


def test_a_new_access_token(filled_app: Flask, benchmark: BenchmarkFixture) -> None:
    with filled_app.app_context():
        benchmark(token_service.make_access_token, 1, uuid4(), generation=0)


def test_validating_a_registration(benchmark: BenchmarkFixture) -> None:
    assert benchmark(RegisterIn.model_validate_json, GOOD).name == "New Person"
