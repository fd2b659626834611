"""Who people are elsewhere."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model


class ExternalIdentity(Model):
    """An account at an issuer that opens one here: known by issuer and subject, never by its address or name."""

    __tablename__ = "identities"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    #: What it is called outside: the sequence tells how many others there are, and when they came.
    public_id: Mapped[UUID] = mapped_column(server_default=text("gen_random_uuid()"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    issuer: Mapped[str]
    subject: Mapped[str]
    #: The address at the issuer when it was last used: for people, never for decisions.
    email: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime | None]

    __table_args__ = (
        Index("uq_identities_issuer_subject", "issuer", "subject", unique=True),
        Index("ix_identities_user_id", "user_id"),
        Index("uq_identities_public_id", "public_id", unique=True),
        CheckConstraint("issuer <> '' AND subject <> ''", name="named"),
    )
