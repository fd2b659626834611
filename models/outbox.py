"""Mails on their way: written in the transaction of their cause, delivered by the worker."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model
from models.enums import MailStatus

STATUSES = ", ".join(f"'{status}'" for status in MailStatus)


class OutboxMail(Model):
    """One mail. Text and HTML are encrypted: they hold links that must not be usable from a copy of the database."""

    __tablename__ = "outbox"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    kind: Mapped[str]
    to_address: Mapped[str]
    subject: Mapped[str]
    payload_encrypted: Mapped[bytes]
    message_id: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=MailStatus.QUEUED)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    last_error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    sent_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_outbox_due", "available_at", postgresql_where=text("status = 'queued'")),
        Index("ix_outbox_created_at", "created_at", "id"),
        Index("ix_outbox_to_address", "to_address"),
        CheckConstraint(f"status IN ({STATUSES})", name="status"),
        CheckConstraint("(status = 'sent') = (sent_at IS NOT NULL)", name="sent_at"),
    )
