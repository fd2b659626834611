"""What PostgreSQL itself logs when two want the same: no address, no hash, no statement (ASVS 16.2.5)."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from flask import Flask

from app import create_app
from tests.authenticator import Authenticator
from tests.clients import Api
from tests.conftest import POOL, dispose
from tests.factories import PASSWORD, Person
from tests.integration.api.passkeys import add
from tests.integration.deploy.servers import until
from tests.integration.faults.servers import Postgres

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(120)]

WANTED = "wanted@example.com"
TAKES = "INSERT INTO users (email, name, password_hash) VALUES (%s, 'Taker', '$argon2id$taker')"
TAKES_ROLE = "INSERT INTO roles (name, description, permissions) VALUES ('clerk', 'x', '{}')"


@pytest.fixture
def app(postgres: Postgres) -> Iterator[Flask]:
    """Portico on a server of its own, whose log nobody else writes."""
    made = create_app("testing", DATABASE_URL=postgres.url, **POOL)
    yield made
    dispose(made)


@pytest.fixture
def alice(postgres: Postgres) -> Person:
    """Alice owns."""
    return postgres.people[0]


@pytest.fixture
def ada(postgres: Postgres) -> Person:
    """Ada administers."""
    return postgres.people[-1]


CREATE = {"email": WANTED, "name": "Wanted", "password": PASSWORD}
RACES = {
    "register": ("POST", "/auth/register", CREATE, TAKES, 202),
    "create": ("POST", "/users", CREATE, TAKES, 409),
    "change": ("PATCH", "/users/1", {"email": WANTED}, TAKES, 409),
    "new role": ("POST", "/roles", {"name": "clerk", "description": "x", "permissions": []}, TAKES_ROLE, 409),
    "rename role": ("PATCH", "/roles/former", {"name": "clerk"}, TAKES_ROLE, 409),
}


@pytest.mark.parametrize("race", RACES)
def test_two_at_once_leave_no_value_in_the_servers_log(
    app: Flask, postgres: Postgres, ada: Person, race: str
) -> None:
    """Another connection has the same on its way, and commits while ours waits for it."""
    method, path, body, takes, status = RACES[race]
    mine = Api(app).as_(ada)
    mine.post("/roles", {"name": "former", "description": "x", "permissions": []})
    with closing(postgres.connect()) as other, ThreadPoolExecutor(1) as pool:
        other.autocommit = False
        other.cursor().execute(takes, (WANTED,) if "%s" in takes else None)
        answer = pool.submit(mine.call, method, path, json=body)
        until(lambda: postgres.waiting() == 1, seconds=10, what="ours waits for the other one")
        other.commit()
        assert answer.result().status_code == status
    check_log(postgres, ada.email)


def test_what_is_taken_already_is_no_error_to_the_server(
    app: Flask, postgres: Postgres, alice: Person, ada: Person
) -> None:
    device = Authenticator()
    mine = Api(app).as_(ada)
    add(Api(app).as_(alice), device)
    calls = [
        ("POST", "/users", {**CREATE, "email": alice.email}),
        ("PATCH", f"/users/{ada.id}", {"email": alice.email.upper()}),
        ("POST", "/roles", {"name": "admin", "description": "x", "permissions": []}),
    ]
    for method, path, body in calls:
        assert mine.call(method, path, json=body).status_code == 409, path
    assert Api(app).post("/auth/register", {**CREATE, "email": alice.email}).status_code == 202
    assert "ERROR" not in said(postgres)
    check_log(postgres, alice.email, ada.email)


def test_a_statement_that_takes_too_long_is_not_in_the_servers_log(
    app: Flask, postgres: Postgres, alice: Person
) -> None:
    with closing(postgres.connect()) as other:
        other.autocommit = False
        other.cursor().execute("SELECT FROM users WHERE id = %s FOR UPDATE", (alice.id,))
        body = {"email": alice.email, "password": PASSWORD}
        assert Api(app).post("/auth/login", body).status_code == 503
    until(lambda: "canceling statement" in said(postgres), seconds=10, what="the server tells of it")
    check_log(postgres, alice.email)


def said(postgres: Postgres) -> str:
    return postgres.cluster.places.log.read_text()


def check_log(postgres: Postgres, *addresses: str) -> None:
    """Nobody's address, nothing of a password, no statement."""
    for word in (WANTED, *addresses, "$argon2", "STATEMENT:", "DETAIL:", "INSERT INTO", "UPDATE "):
        assert word.lower() not in said(postgres).lower(), word
