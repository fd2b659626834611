"""Answers kept for callers that repeat a request under the same Idempotency-Key."""

from datetime import datetime

from sqlalchemy import Index, func
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model


class IdempotencyKey(Model):
    """The first answer to a key, encrypted (it may hold tokens), with a digest of the request it answered."""

    __tablename__ = "idempotency_keys"

    scope: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_digest: Mapped[bytes]
    answer_encrypted: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)
