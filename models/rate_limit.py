"""Counters of the rate limits."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model


class RateLimit(Model):
    """How often something happened in a window. UNLOGGED: a crash forgives, nothing else is lost."""

    __tablename__ = "rate_limits"

    key: Mapped[str] = mapped_column(primary_key=True)
    hits: Mapped[int]
    expires_at: Mapped[datetime]

    __table_args__ = (Index("ix_rate_limits_expires_at", "expires_at"), {"prefixes": ["UNLOGGED"]})
