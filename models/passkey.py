"""Passkeys: public keys that an account's devices hold the other halves of (WebAuthn)."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model


class Passkey(Model):
    """One passkey of an account. Nothing in it is secret: the private key never leaves its device."""

    __tablename__ = "passkeys"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str]
    credential_id: Mapped[bytes]
    public_key: Mapped[bytes]
    user_handle: Mapped[bytes]
    """Who the account is to the device: random, the same for all passkeys of an account."""
    sign_count: Mapped[int]
    """How often the device says it was used; 0 where it does not count, as with synced ones."""
    transports: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    is_synced: Mapped[bool]
    """Whether the device keeps copies elsewhere."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime | None]

    __table_args__ = (
        Index("uq_passkeys_credential_id", "credential_id", unique=True),
        Index("ix_passkeys_user_id", "user_id"),
    )
