"""What happened: append-only, kept without foreign keys because history outlives the people in it."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, func, text
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
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        Index("ix_audit_events_created_at", "created_at", "id"),
        Index("ix_audit_events_action", "action", "id"),
        Index("ix_audit_events_actor_id", "actor_id", "id"),
        Index("ix_audit_events_target_id", "target_id", "id"),
    )
