"""Copies of somebody's data, made for him to take away."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model
from models.enums import ExportStatus

STATUSES = ", ".join(f"'{status}'" for status in ExportStatus)


class DataExport(Model):
    """One copy for each person: asked for, then made by the worker and kept encrypted until it expires."""

    __tablename__ = "data_exports"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(server_default=ExportStatus.PENDING)
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    content_encrypted: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]

    __table_args__ = (
        Index("uq_data_exports_user_id", "user_id", unique=True),
        Index("ix_data_exports_pending", "created_at", postgresql_where=text("status = 'pending'")),
        Index("ix_data_exports_expires_at", "expires_at"),
        CheckConstraint(f"status IN ({STATUSES})", name="status"),
        CheckConstraint("(status = 'ready') = (content_encrypted IS NOT NULL)", name="ready_has_content"),
    )
