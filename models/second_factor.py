"""What somebody shows beside the password: one-time codes of an app, recovery codes, and steps half done."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model
from models.enums import ChallengePurpose

PURPOSES = ", ".join(f"'{purpose}'" for purpose in ChallengePurpose)


class TotpCredential(Model):
    """An authenticator app: its seed, encrypted, and the last time step that was accepted (RFC 6238)."""

    __tablename__ = "totp_credentials"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    seed_encrypted: Mapped[bytes]
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RecoveryCode(Model):
    """One of ten codes for the day the phone is lost; kept as a keyed digest, used once."""

    __tablename__ = "recovery_codes"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    code_hash: Mapped[bytes]
    used_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("uq_recovery_codes_user_id_code_hash", "user_id", "code_hash", unique=True),)


class Challenge(Model):
    """A step half done: password right and second step missing, a passkey asked for, a visitor sent to an issuer.

    Found by the digest of a token that only the asking client holds; good once, for minutes.
    """

    __tablename__ = "challenges"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    purpose: Mapped[str]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    token_hash: Mapped[bytes]
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]

    __table_args__ = (
        Index("uq_challenges_token_hash", "token_hash", unique=True),
        Index("ix_challenges_user_id", "user_id"),
        Index("ix_challenges_expires_at", "expires_at"),
        CheckConstraint(f"purpose IN ({PURPOSES})", name="purpose"),
    )
