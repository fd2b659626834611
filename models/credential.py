"""One-time links and codes that were mailed."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model
from models.enums import TokenPurpose

PURPOSES = ", ".join(f"'{purpose}'" for purpose in TokenPurpose)


class OneTimeToken(Model):
    """Good for one purpose, once, until it expires. Only hashes are kept: of the link's token and of the typed code."""

    __tablename__ = "one_time_tokens"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    purpose: Mapped[str]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    email: Mapped[str | None]
    token_hash: Mapped[bytes]
    code_hash: Mapped[bytes | None]
    code_expires_at: Mapped[datetime | None]
    #: Links that say "this was not me": since when mails about the account have gone to this address without a break.
    claimed_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    #: Links that confirm an address: the name and the password that this registration asked for. Neither is the
    #: account's before its own link is used. Null in a link that somebody asked for without registering.
    name: Mapped[str | None]
    password_hash: Mapped[str | None]
    #: Links that confirm an address: the browser that registered, or asked for the mail. Null for programs.
    browser_hash: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]

    __table_args__ = (
        Index("uq_one_time_tokens_token_hash", "token_hash", unique=True),
        Index("ix_one_time_tokens_user_id", "user_id", "purpose"),
        Index("ix_one_time_tokens_expires_at", "expires_at"),
        CheckConstraint(f"purpose IN ({PURPOSES})", name="purpose"),
        CheckConstraint("(purpose = 'setup_admin') = (user_id IS NULL)", name="owner"),
        CheckConstraint(
            f"(purpose = '{TokenPurpose.NOT_ME}') = (claimed_at IS NOT NULL)",
            name="claimed",
        ),
        CheckConstraint("(name IS NULL) = (password_hash IS NULL) AND name <> ''", name="registration"),
        CheckConstraint(
            f"purpose = '{TokenPurpose.VERIFY_EMAIL}' OR (name IS NULL AND browser_hash IS NULL)",
            name="registering",
        ),
    )
