"""What is remembered, to compare before and after: a refusal changes nothing. And who waits for whom."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from sqlalchemy import text

from models import db

#: Table → what of it counts. A session's last use is no change, and neither is a counted try.
TABLES = {
    "users": "*",
    "roles": "*",
    "sessions": "id, user_id, token_hash, expires_at",
    "one_time_tokens": "*",
    "outbox": "id, kind, to_address, status, attempts",
    "audit_events": "id, action, actor_id, target_id, details",
    "identities": "*",
    "idempotency_keys": "scope, key",
}


def state(app: Flask, *, but: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    """Every row of every table that a request could change, except the tables in `but`."""
    with app.app_context():
        rows = {
            name: [
                tuple(row) for row in db.session.execute(text(f"SELECT {columns} FROM {name} ORDER BY 1, 2"))
            ]
            for name, columns in TABLES.items()
            if name not in but
        }
        db.session.rollback()
    return rows


@contextmanager
def unchanged(app: Flask, *, but: tuple[str, ...] = ()) -> Iterator[None]:
    """The block changes nothing (but the tables named)."""
    before = state(app, but=but)
    yield
    assert state(app, but=but) == before


def wait_for_a_lock(seconds: float = 2) -> None:
    """Until another connection to this database waits for a lock. For tests on a real database, in an app context."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    end = time.monotonic() + seconds
    with db.engine.connect() as connection:
        while time.monotonic() < end:
            if connection.execute(waiting).scalar_one():
                return
            connection.rollback()  # within a transaction the view does not change
            time.sleep(0.01)
    raise AssertionError("nobody waits for a lock")
