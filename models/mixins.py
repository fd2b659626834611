"""Columns that several tables share."""

from datetime import datetime

from sqlalchemy import Identity, func
from sqlalchemy.orm import Mapped, mapped_column


class Identified:
    """A bigint identity, given by the database."""

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)


class Timestamped:
    """When the row was made and last changed."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
