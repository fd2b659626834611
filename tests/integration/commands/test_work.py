"""flask outbox and purge; flask worker is in test_processes.py."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from models import OneTimeToken, OutboxMail, db
from models.base import now
from models.enums import TokenPurpose
from services import mail_service
from services.base_service import unit_of_work
from tests.integration.commands.conftest import Run

pytestmark = pytest.mark.integration


@pytest.fixture
def mail_id(app: Flask) -> str:
    """A mail that was given up."""
    with app.app_context(), unit_of_work():
        mail_service.send("account_deleted", to="alice@example.com", name="Alice")
        db.session.flush()
        db.session.execute(update(OutboxMail).values(status="failed", last_error="550 no such user"))
        return str(db.session.scalar(select(OutboxMail.id)))


def test_outbox_is_listed_without_content(run: Run, mail_id: str) -> None:
    listed = json.loads(run("outbox", "list", "--json").stdout)
    assert [(row["id"], row["status"], row["to_address"]) for row in listed] == [
        (mail_id, "failed", "alice@example.com")
    ]
    assert not {"text", "html", "payload_encrypted"} & set(listed[0])
    assert "550 no such user" in run("outbox", "list").stdout
    assert json.loads(run("outbox", "list", "--status", "queued", "--json").stdout) == []


def test_mail_is_sent_again(app: Flask, run: Run, mail_id: str) -> None:
    assert run("outbox", "resend", mail_id).exit_code == 0
    with app.app_context():
        assert db.session.scalar(select(OutboxMail.status)) == "queued"
    again = run("outbox", "resend", mail_id)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "still waits" in again.stderr


def test_unknown_mail_is_told(run: Run) -> None:
    assert run("outbox", "resend", uuid4()).exit_code == 1
    assert run("outbox", "resend", "first").exit_code == 2


@pytest.mark.real_database
def test_purge_deletes_what_has_expired(app: Flask, run: Run) -> None:
    with app.app_context(), unit_of_work():
        for hours in (-1, 1):
            expires_at = now() + timedelta(hours=hours)
            db.session.add(
                OneTimeToken(
                    purpose=TokenPurpose.SETUP_ADMIN, token_hash=bytes([hours + 1]), expires_at=expires_at
                )
            )
    purged = json.loads(run("purge", "--json").stdout)
    assert purged["links"] == 1
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(OneTimeToken)) == 1
    assert "links" in run("purge").stdout
