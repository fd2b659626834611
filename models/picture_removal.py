"""Pictures whose files have to go."""

from datetime import datetime

from sqlalchemy import Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model


class PictureRemoval(Model):
    """A picture by its name that nobody has any more, or that nobody has yet: written before its first file is.

    Whatever ends half-way, the worker finds it here. The row goes after the files, or with the picture's taking.
    """

    __tablename__ = "picture_removals"

    name: Mapped[str] = mapped_column(primary_key=True)
    #: How often the worker has taken it up.
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    available_at: Mapped[datetime] = mapped_column(server_default=func.now())
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("ix_picture_removals_available_at", "available_at"),)
