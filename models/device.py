"""Devices that an account was signed in on before."""

from datetime import datetime

from sqlalchemy import ForeignKey, Identity, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model


class KnownDevice(Model):
    """A browser (the SHA-256 of its device cookie) or a program (a keyed digest of what it calls itself)."""

    __tablename__ = "known_devices"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    token_hash: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        Index("uq_known_devices_user_id_token_hash", "user_id", "token_hash", unique=True),
        Index("ix_known_devices_last_used_at", "last_used_at"),
    )
