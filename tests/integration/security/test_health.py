"""What the probes tell, and to whom: everybody the status, operators the rest."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from app import create_app
from services import health_service
from tests.clients import Api
from tests.conftest import dispose
from tests.factories import Person, make_person, make_role
from tests.unit.settings.settings import GOOD

TOKEN = "a token for the health"
INNER = {
    "/health/database": "server_version",
    "/health/detailed": "checks",
    "/health/blueprints": "blueprints",
}

pytestmark = pytest.mark.real_database  # the pool, which is looked at, belongs to an app of its own


@pytest.fixture(autouse=True)
def token(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A HEALTH_TOKEN is set."""
    monkeypatch.setitem(app.config, "HEALTH_TOKEN", TOKEN)


def ask(app: Flask, path: str, authorization: str = "") -> Any:
    headers = {"Authorization": authorization} if authorization else {}
    return app.test_client().get(path, headers=headers)


def shown(app: Flask, authorization: str) -> set[str]:
    """The paths that tell more than a status."""
    answers = {path: ask(app, path, authorization) for path in INNER}
    for answer in answers.values():
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
    return {path for path, answer in answers.items() if set(answer.json) != {"status", "timestamp"}}


@pytest.mark.parametrize(
    "authorization",
    [
        "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer  {TOKEN}",
        "Bearer \xe9", "Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer " + "x" * 9000,
    ],
)  # fmt: skip
def test_strangers_see_the_status_alone(app: Flask, authorization: str) -> None:
    assert shown(app, authorization) == set()


def test_without_a_token_in_the_settings_no_token_is_right(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "HEALTH_TOKEN", "")
    for authorization in ("", "Bearer", "Bearer ", f"Bearer {TOKEN}"):
        assert shown(app, authorization) == set()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_health_token_shows_the_details(app: Flask, scheme: str) -> None:
    assert shown(app, f"{scheme} {TOKEN}") == set(INNER)
    for path, detail in INNER.items():
        assert detail in ask(app, path, f"{scheme} {TOKEN}").json


def test_details_are_for_those_who_may_read_the_system(
    app: Flask, api: Api, ada: Person, alice: Person
) -> None:
    reader = make_person(app, "Reader Person", role=make_role(app, "watcher", "system:read"))
    other = make_person(app, "Other Person", role=make_role(app, "clerk", "users:read"))
    for person, paths in ((ada, set(INNER)), (reader, set(INNER)), (other, set()), (alice, set())):
        assert shown(app, f"Bearer {api.as_(person).token}") == paths


def test_an_administrator_who_still_needs_a_second_step_sees_the_status_alone(
    app: Flask, api: Api, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = api.as_(ada).token
    monkeypatch.setitem(app.config, "REQUIRE_MFA", "admins")
    assert shown(app, f"Bearer {token}") == set()


def test_a_session_cookie_shows_nothing(app: Flask, ada: Person) -> None:
    client: Any = app.test_client()
    client.sign_in(ada)
    for path in INNER:
        assert set(client.get(path).json) == {"status", "timestamp"}


def test_readiness_tells_names_and_statuses_alone(app: Flask) -> None:
    told = ask(app, "/health/ready").json
    assert set(told) == {"status", "checks", "timestamp"}
    assert {frozenset(check) for check in told["checks"]} == {frozenset({"name", "status"})}


def test_a_failing_check_is_a_503_for_everybody(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told truthfully, whoever asks; the reason is for operators."""
    checks = [{"name": "database", "status": "pass"}, {"name": "disk", "status": "fail", "detail": "0% free"}]
    monkeypatch.setattr(health_service, "details", lambda: checks)
    answer = ask(app, "/health/detailed")
    assert (answer.status_code, answer.json["status"], set(answer.json)) == (
        503,
        "fail",
        {"status", "timestamp"},
    )
    assert int(answer.headers["Retry-After"]) > 0
    answer = ask(app, "/health/detailed", f"Bearer {TOKEN}")
    assert (answer.status_code, answer.json["checks"]) == (503, checks)


@pytest.fixture
def stranded(app: Flask, ada: Person, api: Api) -> Iterator[tuple[Flask, str]]:
    """Production without its database, and the token of an administrator."""
    del app
    settings = {**GOOD, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "HEALTH_TOKEN": TOKEN}
    made = create_app("production", **settings)
    yield made, str(api.as_(ada).token)
    dispose(made)


def test_without_the_database_the_answer_is_true_and_only_the_health_token_sees_why(
    stranded: tuple[Flask, str],
) -> None:
    app, administrators = stranded
    for authorization in ("", f"Bearer {administrators}", f"Bearer {TOKEN}"):
        answer = ask(app, "/health/database", authorization)
        assert (answer.status_code, answer.json["status"]) == (503, "unhealthy")
        assert ("detail" in answer.json) is (authorization == f"Bearer {TOKEN}")
        answer = ask(app, "/health/detailed", authorization)
        assert (answer.status_code, answer.json["status"]) == (503, "fail")
        assert ("checks" in answer.json) is (authorization == f"Bearer {TOKEN}")
        assert "Retry-After" in answer.headers
    assert ask(app, "/health").status_code == 200
    assert ask(app, "/health/ready").status_code == 503
