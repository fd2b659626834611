"""flask doctor: says what is wrong with a deployment, and how to mend it."""

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from flask import Flask
from sqlalchemy import text, update

from models import OutboxMail, db
from models.base import now
from services import doctor_service, mail_service, slow_mode_service, throttle_service
from services.base_service import unit_of_work
from tests.factories import Person
from tests.integration.commands.conftest import Run

pytestmark = pytest.mark.integration


def findings(run: Run) -> dict[str, dict[str, Any]]:
    return {finding["name"]: finding for finding in json.loads(run("doctor", "--json").stdout)}


@pytest.fixture
def nobodys_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def smtp_port(nobodys_port: int) -> Iterator[int]:
    """A mail server without TLS."""
    controller = Controller(object(), hostname="127.0.0.1", port=nobodys_port)
    controller.start()
    yield nobodys_port
    controller.stop()


def test_healthy_deployment_passes(run: Run, ada: Person) -> None:
    result = run("doctor")
    assert result.exit_code == 0, result.stdout
    assert "BAD" not in result.stdout
    found = findings(run)
    assert {"settings", "database", "clock", "migrations", "mail", "worker", "disk"} <= set(found)
    assert "PostgreSQL" in found["database"]["detail"]


def test_everything_wrong_comes_with_its_remedy(
    app: Flask, run: Run, nobodys_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {
        "ENVIRONMENT": "production",
        "FORCE_HTTPS": True,
        "RATELIMIT_ENABLED": False,
        "BASE_URL": f"http://127.0.0.1:{nobodys_port}",
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": nobodys_port,
        "REDIS_URL": f"redis://127.0.0.1:{nobodys_port}",
        "GUNICORN_THREADS": 10_000,
    }
    for name, value in changed.items():
        monkeypatch.setitem(app.config, name, value)
    with app.app_context(), unit_of_work():
        db.session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    result = run("doctor")
    assert result.exit_code == 1
    found = findings(run)
    wrong = {name: finding["status"] for name, finding in found.items() if finding["status"] != "pass"}
    assert wrong.pop("database user") == "fail"  # the embedded server's user is a superuser
    wrong.pop("database log", None)  # a server of TEST_DATABASE_URL may have no settings of ours
    assert wrong == {
        "limits": "warn",
        "proxies": "fail",
        "connections": "warn",
        "migrations": "fail",
        "mail": "fail",
        "redis": "fail",
        "site": "warn",
    }
    assert all(found[name]["remedy"] for name in wrong)
    assert found["migrations"]["remedy"] == "flask db upgrade"


def test_mail_server_without_tls_is_told(
    app: Flask, run: Run, smtp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "MAIL_SERVER", "127.0.0.1")
    monkeypatch.setitem(app.config, "MAIL_PORT", smtp_port)
    assert "does not offer" in findings(run)["mail"]["detail"]
    monkeypatch.setitem(app.config, "MAIL_USE_TLS", False)
    assert "takes us in the clear" in findings(run)["mail"]["detail"]


def test_worker_that_is_away_is_told_by_the_oldest_mail(app: Flask, run: Run, ada: Person) -> None:
    with app.app_context(), unit_of_work():
        mail_service.send("account_deleted", to="alice@example.com", name="Alice")
        db.session.flush()
        db.session.execute(update(OutboxMail).values(created_at=now() - timedelta(minutes=7)))
    worker = findings(run)["worker"]
    assert (worker["status"], worker["detail"]) == ("fail", "1 mails wait, the oldest for 7 minutes")
    assert "flask worker" in worker["remedy"]


@pytest.mark.parametrize(
    ("seconds", "status"), [(0, "pass"), (5, "warn"), (-5, "warn"), (60, "fail"), (-60, "fail")]
)
def test_clocks_that_differ_are_told(seconds: int, status: str) -> None:
    (finding,) = doctor_service._clock(now() + timedelta(seconds=seconds))
    assert finding.status == status


@pytest.mark.parametrize(("major", "statuses"), [(13, ["fail"]), (14, ["warn"]), (15, []), (18, [])])
def test_old_servers_are_told(major: int, statuses: list[str]) -> None:
    assert [finding.status for finding in doctor_service._version(major)] == statuses


def test_slow_mode_is_told_with_where_to_read_on(app: Flask, run: Run, ada: Person) -> None:
    assert "guesses" not in findings(run)
    with app.app_context():
        throttle_service.add(slow_mode_service.SLOW, slow_mode_service.EVERYBODY, 1)
    found = findings(run)["guesses"]
    assert found["status"] == "warn"
    assert "docs/operating.md" in found["remedy"]
