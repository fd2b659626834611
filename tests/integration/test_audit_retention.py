"""Audit events go when their time is over, by one function, and by nothing else: here one role owns everything."""

from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select, text
from sqlalchemy.exc import ProgrammingError

from models import AuditEvent, db
from models.base import now
from services import audit_retention_service, audit_service, worker
from services.base_service import unit_of_work

pytestmark = [pytest.mark.integration, pytest.mark.real_database]

DAY = timedelta(days=1)


def lived_through(app: Flask, *ages_in_days: float) -> None:
    with app.app_context(), unit_of_work():
        db.session.add_all(
            AuditEvent(action="account:logout", created_at=now() - age * DAY) for age in ages_in_days
        )


def ages(app: Flask) -> list[int]:
    """Of the events that are there, in days, without those of the purge itself."""
    with app.app_context():
        moments = db.session.scalars(select(AuditEvent.created_at).where(AuditEvent.action != "audit:purge"))
        return sorted((now() - moment).days for moment in moments)


def purges(app: Flask) -> list[AuditEvent]:
    with app.app_context():
        return list(db.session.scalars(select(AuditEvent).where(AuditEvent.action == "audit:purge")))


def test_what_is_older_than_the_setting_goes_and_leaves_an_event(app: Flask) -> None:
    lived_through(app, 0, 89, 399, 401, 500)
    with app.app_context():
        assert worker.purge()["audit_events"] == 2
        assert worker.purge()["audit_events"] == 0
    assert ages(app) == [0, 89, 399]
    (event,) = purges(app)
    assert (event.actor_id, event.target_id) == (None, None)
    assert event.details["count"] == 2
    assert datetime.fromisoformat(event.details["before"]).date() == (now() - 400 * DAY).date()
    assert event.action in audit_service.ACTIONS


def test_for_ever_is_for_ever(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "AUDIT_RETENTION_DAYS", 0)
    lived_through(app, 30_000)
    with app.app_context():
        assert worker.purge()["audit_events"] == 0
    assert len(ages(app)) == 1


def test_many_go_in_batches(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "PURGE_BATCH", 2)
    monkeypatch.setattr(audit_retention_service, "PURGE_BATCH", 2)
    lived_through(app, 405, 404, 403, 402, 401)
    with app.app_context():
        assert worker.purge()["audit_events"] == 5
    assert [event.details["count"] for event in purges(app)] == [2, 2, 1]


def test_a_worker_does_not_purge_for_hours(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "PURGE_BATCH", 1)
    monkeypatch.setattr(worker, "MOST_BATCHES", 2)
    monkeypatch.setattr(audit_retention_service, "PURGE_BATCH", 1)
    lived_through(app, 403, 402, 401)
    with app.app_context():
        assert worker.purge()["audit_events"] == 2
    assert ages(app) == [401]


@pytest.mark.parametrize(
    "before", [now() - 89 * DAY, now(), now() + 1000 * DAY, text("'infinity'::timestamptz"), None]
)
def test_traces_of_the_last_ninety_days_can_not_be_wiped(app: Flask, before: object) -> None:
    lived_through(app, 1, 80)
    with app.app_context(), pytest.raises(ProgrammingError, match="90 days at least"), unit_of_work():
        db.session.execute(select(func.purge_audit_events(before, 1000)))
    assert ages(app) == [1, 80]


@pytest.mark.parametrize(
    "statements",
    [
        ["DELETE FROM audit_events"],
        ["SET LOCAL portico.purging = 'on'", "DELETE FROM audit_events"],
        ["SELECT set_config('portico.purging', 'on', true)", "DELETE FROM audit_events WHERE action <> ''"],
        ["SET LOCAL portico.purging = 'on'", "UPDATE audit_events SET created_at = '2000-01-01'"],
        ["SET LOCAL portico.purging = 'on'", "TRUNCATE audit_events"],
        ["SELECT purge_audit_events(now() - interval '400 days', 5)", "DELETE FROM audit_events"],
    ],
)
def test_what_is_young_stays_whatever_the_owner_says(app: Flask, statements: list[str]) -> None:
    lived_through(app, 1, 401)
    *first, last = statements
    with app.app_context():
        for statement in first:
            db.session.execute(text(statement))
        with pytest.raises(ProgrammingError, match="append-only"):
            db.session.execute(text(last))
        db.session.rollback()
    assert 1 in ages(app)
