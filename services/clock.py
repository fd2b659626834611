"""The one clock, for the rooms above the models."""

from models.base import now

__all__ = ["now"]
