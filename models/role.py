"""Roles: names for sets of permission codes."""

from sqlalchemy import Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model
from models.mixins import Timestamped


class Role(Timestamped, Model):
    """What its holders may do. The codes themselves stand in `services/permissions.py`."""

    __tablename__ = "roles"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str]
    permissions: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    is_built_in: Mapped[bool] = mapped_column(server_default=text("false"))
