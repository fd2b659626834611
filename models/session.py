"""Sessions: one row a signed-in device; a row gone is a session over."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model
from models.enums import SessionKind


class UserSession(Model):
    """A browser (found by the hash of its cookie) or a program (found by the `sid` of its access token)."""

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str]
    token_hash: Mapped[bytes | None]
    device_name: Mapped[str]
    user_agent: Mapped[str | None]
    ip: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    authenticated_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    #: The newest generation of which an access token was presented; the first one's, 0, from the start.
    presented_generation: Mapped[int] = mapped_column(server_default=text("0"))
    #: The administrator who is signed in as the person here; none in the person's own sessions.
    impersonator_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    #: His own session, which waits for him. No foreign key: this row outlives it, worth nothing, until its end is told.
    impersonator_session_id: Mapped[UUID | None]

    __table_args__ = (
        Index("uq_sessions_token_hash", "token_hash", unique=True),
        Index("ix_sessions_user_id", "user_id", "last_seen_at"),
        Index("ix_sessions_expires_at", "expires_at"),
        Index(
            "ix_sessions_impersonator_id",
            "impersonator_id",
            postgresql_where=text("impersonator_id IS NOT NULL"),
        ),
        Index(
            "uq_sessions_impersonator_session_id",
            "impersonator_session_id",
            unique=True,
            postgresql_where=text("impersonator_session_id IS NOT NULL"),
        ),
        CheckConstraint(f"kind IN ('{SessionKind.BROWSER}', '{SessionKind.API}')", name="kind"),
        CheckConstraint("(kind = 'browser') = (token_hash IS NOT NULL)", name="browser_has_token"),
        CheckConstraint(
            "(impersonator_id IS NULL) = (impersonator_session_id IS NULL)"
            " AND (impersonator_id IS NULL OR (kind = 'browser' AND impersonator_id <> user_id))",
            name="impersonation",
        ),
    )


class RefreshToken(Model):
    """One refresh token of a session's family, kept as its SHA-256; `used_at` tells that it was exchanged."""

    __tablename__ = "refresh_tokens"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    token_hash: Mapped[bytes]
    #: How many exchanges came before it.
    generation: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]

    __table_args__ = (
        Index("uq_refresh_tokens_token_hash", "token_hash", unique=True),
        Index("ix_refresh_tokens_session_id", "session_id"),
    )
