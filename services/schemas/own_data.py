"""One's own data as the API and the pages see it: a copy to take away, and the end of an account."""

from typing import Literal
from uuid import UUID

from services.schemas.base import Moment, Out


class DeletionOut(Out):
    """An account that is going to be deleted."""

    deletes_at: Moment
    """Until then it can be undone."""


class ExportAskedOut(Out):
    """A copy that was asked for."""

    id: UUID
    status: Literal["pending", "ready", "failed"]


class ExportOut(Out):
    """How far the copy is."""

    status: Literal["pending", "ready", "failed"]
    url: str | None
    """Where to fetch it, once it is ready."""
    expires_at: Moment | None
    """When it is gone again."""


class PictureOut(Out):
    """Where a picture is; another one gets other addresses."""

    large: str
    """256 pixels square, WebP."""
    small: str
    """64 pixels square, WebP."""
