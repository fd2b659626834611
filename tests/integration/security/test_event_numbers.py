"""Numbers of own events with real commits: many at once, old events taken along, old ones gone (ADR-018)."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import func, select, text

from models import AuditEvent, User, db
from services import audit_service, worker
from services.base_service import unit_of_work
from tests.factories import Person, make_person

MIGRATIONS = str(Path(__file__).resolve().parents[3] / "migrations")

pytestmark = pytest.mark.real_database


def record(person: Person) -> None:
    audit_service.record("account:update", actor_id=None, target_id=person.id)


def numbers(person: Person) -> list[int | None]:
    """Of the person's events, in the order of the log."""
    found = select(AuditEvent.number).where(AuditEvent.target_id == person.id).order_by(AuditEvent.id)
    return list(db.session.scalars(found))


def test_two_people_written_of_in_either_order_at_once_deadlock_nobody(
    app: Flask, alice: Person, bob: Person
) -> None:
    rounds, both = 25, Barrier(2)

    def write(first: Person, second: Person) -> None:
        with app.app_context():
            for _ in range(rounds):
                both.wait(10)
                with unit_of_work():
                    record(first)
                    db.session.scalar(select(func.count()).select_from(User))  # a query in between flushes
                    record(second)

    with ThreadPoolExecutor(2) as threads:
        jobs = [threads.submit(write, *pair) for pair in ((alice, bob), (bob, alice))]
        for job in jobs:
            job.result(60)
    with app.app_context():
        for person in (alice, bob):
            assert sorted(number or 0 for number in numbers(person)) == list(range(1, 2 * rounds + 1))


def test_an_event_holds_nobody_before_the_commit(app: Flask, alice: Person) -> None:
    """Who has recorded something and still works keeps no other event of the same person waiting."""
    _record_elsewhere(app, alice)  # every account has one of its making
    with app.app_context(), unit_of_work():
        record(alice)
        db.session.get_one(User, alice.id, with_for_update=True)
        with ThreadPoolExecutor(1) as thread:
            thread.submit(_record_elsewhere, app, alice).result(5)
    with app.app_context():
        assert numbers(alice) == [1, 2, 3]


def _record_elsewhere(app: Flask, person: Person) -> None:
    with app.app_context(), unit_of_work():
        record(person)


def test_many_at_once_are_numbered_without_a_gap(app: Flask, alice: Person) -> None:
    with ThreadPoolExecutor(5) as threads:
        for job in [threads.submit(_record_elsewhere, app, alice) for _ in range(40)]:
            job.result(60)
    with app.app_context():
        assert sorted(number or 0 for number in numbers(alice)) == list(range(1, 41))


def test_numbers_stay_when_old_events_go(app: Flask, alice: Person) -> None:
    old = (
        "INSERT INTO audit_events (action, target_id, created_at)"
        " VALUES ('account:logout', :id, now() - interval '500 days')"
    )
    with app.app_context():
        with unit_of_work():
            db.session.execute(text(old), {"id": alice.id})
            db.session.execute(text(old), {"id": alice.id})
            record(alice)
        assert worker.purge()["audit_events"] == 2
        assert numbers(alice) == [3]
        with unit_of_work():
            record(alice)
        assert numbers(alice) == [3, 4]


def test_the_migration_numbers_what_was_there(app: Flask, alice: Person, bob: Person) -> None:
    """From 1 on, in the order of the log; of those who are gone nothing; new ones follow."""
    gone = make_person(app, "Gone")
    with app.app_context():
        before = ScriptDirectory(MIGRATIONS).get_revision("0019").down_revision
        db.session.remove()
        downgrade(directory=MIGRATIONS, revision=str(before))
        with unit_of_work():
            for person in (alice, bob, gone, alice, alice, bob):
                db.session.execute(
                    text("INSERT INTO audit_events (action, target_id) VALUES ('account:logout', :id)"),
                    {"id": person.id},
                )
            db.session.execute(text("DELETE FROM users WHERE id = :id"), {"id": gone.id})
        db.session.remove()
        upgrade(directory=MIGRATIONS)
        assert [numbers(alice), numbers(bob), numbers(gone)] == [[1, 2, 3], [1, 2], [None]]
        with unit_of_work():
            record(bob)
        assert numbers(bob) == [1, 2, 3]
        with pytest.raises(Exception, match="append-only"):
            db.session.execute(text("SET portico.numbering = 'on'; UPDATE audit_events SET number = 9"))
        db.session.rollback()


def test_an_event_before_its_turn_in_the_migration_counts_on_from_the_old_ones(
    app: Flask, alice: Person
) -> None:
    """The trigger is there at once, the numbers of the old events come in batches."""
    with app.app_context():
        with unit_of_work():
            db.session.execute(text("ALTER TABLE audit_events DISABLE TRIGGER USER"))
            for _ in range(3):
                record_plainly(alice)
            db.session.execute(text("ALTER TABLE audit_events ENABLE TRIGGER USER"))
        with unit_of_work():
            record(alice)
        assert numbers(alice) == [None, None, None, 4]
        script = ScriptDirectory(MIGRATIONS).get_revision("0019").module
        with db.engines["reading"].connect() as connection:
            connection.execute(text(script.REFUSE % script.BUT_FOR_NUMBERS))
            connection.execute(text(script.NUMBER_THE_OLD))
        assert numbers(alice) == [1, 2, 3, 4]


def record_plainly(person: Person) -> None:
    statement = text("INSERT INTO audit_events (action, target_id) VALUES ('account:logout', :id)")
    db.session.execute(statement, {"id": person.id})
