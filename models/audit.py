"""What happened: append-only, kept without foreign keys because history outlives the people in it."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model
from models.mixins import Identified


class AuditEvent(Identified, Model):
    """One event. A trigger refuses UPDATE and DELETE."""

    __tablename__ = "audit_events"

    action: Mapped[str]
    actor_id: Mapped[int | None]
    target_id: Mapped[int | None]
    ip: Mapped[str | None]
    user_agent: Mapped[str | None]
    request_id: Mapped[str | None]
    #: 1, 2, 3 … for each target, in the order of the commits: what people are shown of their own. A trigger gives it;
    #: none where there is no such account.
    number: Mapped[int | None]
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        Index("ix_audit_events_created_at", "created_at", "id"),
        Index("ix_audit_events_action", "action", "id"),
        Index("ix_audit_events_actor_id", "actor_id", "id"),
        Index("ix_audit_events_target_id", "target_id", "id"),
        Index("uq_audit_events_target_id_number", "target_id", "number", unique=True),
    )


class EventNumber(Model):
    """The latest number of an account's events. Only the trigger of `audit_events` writes here (ADR-018)."""

    __tablename__ = "event_numbers"

    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    latest: Mapped[int]
