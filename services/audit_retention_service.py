"""How long audit events are kept. The app's own role may not delete one; a function of the table's owner may, and only
what is older than 90 days (migration 0012, docs/audit.md)."""

from datetime import timedelta

from flask import current_app
from sqlalchemy import func, select

from models import db
from models.base import now
from services.base_service import PURGE_BATCH
from services.settings.audit import KEPT_FOR_EVER


def purge() -> int:
    """Delete events older than AUDIT_RETENTION_DAYS; returns how many. At most 5,000 at a time.

    Each time it writes an event of its own (`audit:purge`), inside the database.
    """
    days = current_app.config["AUDIT_RETENTION_DAYS"]
    if days == KEPT_FOR_EVER:
        return 0
    before = now() - timedelta(days=days)
    return int(db.session.execute(select(func.purge_audit_events(before, PURGE_BATCH))).scalar_one())
