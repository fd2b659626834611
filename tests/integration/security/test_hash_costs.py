"""After the cost of hashes was changed, a wrong password costs where nobody is what it costs at accounts (A15)."""

from collections import Counter
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from sqlalchemy import text

from models import db
from models.base import now
from models.user import PLACE
from tests.clients import Api
from tests.conftest import counted
from tests.factories import PASSWORD, make_person

OLD = PasswordHasher(time_cost=3, memory_cost=24, parallelism=1)
OLD_COST = "m=24,t=3,p=1"


class Looking:
    """The real hasher, which notes the costs of what it is given to look at."""

    def __init__(self, hasher: PasswordHasher) -> None:
        self.hasher = hasher
        self.costs: list[str] = []

    def verify(self, password_hash: str, password: str) -> bool:
        self.costs.append(password_hash.split("$")[3])
        return self.hasher.verify(password_hash, password)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.hasher, name)


@pytest.fixture
def looking(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Looking:
    """Without limits: each try is looked at."""
    hashing = app.extensions["hashing"]
    spy = Looking(hashing.hasher)
    monkeypatch.setattr(hashing, "hasher", spy)
    monkeypatch.setitem(app.config, "RATELIMIT_ENABLED", False)
    return spy


def cost(api: Api, looking: Looking, email: str, password: str = "wrong horse battery") -> str:
    """What one try costs at this address."""
    looking.costs.clear()
    assert api.post("/auth/login", {"email": email, "password": password}).status_code == 401
    (paid,) = looking.costs
    return paid


def people(app: Flask, count: int, **columns: Any) -> None:
    for _ in range(count):
        make_person(app, "Somebody", **columns)


def todays(app: Flask) -> str:
    return str(app.extensions["hashing"].dummy.split("$")[3])


def test_nobody_pays_what_the_accounts_of_the_present_mix_pay(app: Flask, api: Api, looking: Looking) -> None:
    old = OLD.hash(PASSWORD)
    people(app, 15, password_hash=old)
    people(app, 25)
    costs = Counter(cost(api, looking, f"nobody{number}@example.com") for number in range(160))
    assert set(costs) == {OLD_COST, todays(app)}
    assert 0.2 < costs[OLD_COST] / 160 < 0.55


def test_an_address_pays_always_the_same_however_it_is_spelt(app: Flask, api: Api, looking: Looking) -> None:
    people(app, 5, password_hash=OLD.hash(PASSWORD))
    people(app, 5)
    for number in range(20):
        spellings = f"nobody{number}@example.com", f"Nobody{number}@EXAMPLE.com"
        assert len({cost(api, looking, email) for email in spellings * 2}) == 1


def test_new_accounts_change_what_few_addresses_pay(app: Flask, api: Api, looking: Looking) -> None:
    """Else whoever registers a few times would see it jump where nobody is, and stay where somebody is."""
    people(app, 20, password_hash=OLD.hash(PASSWORD))
    people(app, 20)
    addresses = [f"nobody{number}@example.com" for number in range(60)]
    before = [cost(api, looking, email) for email in addresses]
    people(app, 2)
    after = [cost(api, looking, email) for email in addresses]
    assert sum(one != other for one, other in zip(before, after, strict=True)) <= 12


def test_an_account_without_a_password_pays_what_its_address_paid_before(
    app: Flask, api: Api, looking: Looking
) -> None:
    people(app, 4, password_hash=OLD.hash(PASSWORD))
    people(app, 4)
    for number in range(12):
        email = f"invited{number}@example.com"
        before = cost(api, looking, email)
        make_person(app, "Invited", email=email, password_hash=None)
        assert cost(api, looking, email) == before


@pytest.mark.parametrize(
    "columns", [{"is_active": False, "suspended_at": now()}, {"frozen_at": now()}, {"email_verified": False}]
)
def test_a_closed_account_goes_on_paying_its_own(
    app: Flask, api: Api, looking: Looking, columns: dict[str, Any]
) -> None:
    people(app, 3)
    person = make_person(app, "Closed", password_hash=OLD.hash(PASSWORD), **columns)
    assert cost(api, looking, person.email) == OLD_COST


def test_without_any_password_todays_cost_is_paid(app: Flask, api: Api, looking: Looking) -> None:
    with app.app_context():
        assert db.session.scalar(text("SELECT count(*) FROM users WHERE password_hash IS NOT NULL")) == 0
    assert cost(api, looking, "nobody@example.com") == todays(app)


def test_where_all_are_old_nobody_pays_todays_cost(app: Flask, api: Api, looking: Looking) -> None:
    people(app, 1, password_hash=OLD.hash(PASSWORD))
    assert {cost(api, looking, f"nobody{number}@example.com") for number in range(10)} == {OLD_COST}


def test_the_password_of_whose_cost_is_paid_opens_nothing(app: Flask, api: Api, looking: Looking) -> None:
    people(app, 1, password_hash=OLD.hash(PASSWORD))
    assert cost(api, looking, "nobody@example.com", PASSWORD) == OLD_COST


def test_a_refused_sign_in_sends_as_many_statements_whoever_it_is(
    app: Flask, api: Api, looking: Looking
) -> None:
    people(app, 3)
    known = make_person(app, "Known").email
    invited = make_person(app, "Invited", password_hash=None).email
    sent = []
    for email in (known, invited, "nobody@example.com"):
        cost(api, looking, email)  # the first event of an account starts its count
        with counted() as statements:
            cost(api, looking, email)
        sent.append([statement.split()[:3] for statement in statements])
    assert sent[0] == sent[1] == sent[2]


def test_the_account_whose_cost_is_paid_is_found_by_an_index(app: Flask) -> None:
    with app.app_context():
        db.session.execute(text("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"))
        plan = db.session.execute(
            text(
                f"EXPLAIN SELECT id FROM users WHERE password_hash IS NOT NULL AND {PLACE} > 9 ORDER BY {PLACE}"
            )
        )
        assert "Index Scan using ix_users_place" in str(list(plan))
