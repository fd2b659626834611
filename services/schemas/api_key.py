"""API keys as they are asked for and shown."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from services.schemas.base import In, InMoment, Moment, Out, SomeLine
from services.schemas.role import PermissionCode


class ApiKeyIn(In):
    """A new key."""

    name: Annotated[SomeLine, Field(max_length=100)] = Field(title="Name")
    """What it is for; you find it again by this."""
    scopes: Annotated[list[PermissionCode], Field(max_length=50)] = Field(
        title="May", examples=[["users:read"]]
    )
    """Permissions of yours that the key has too. With none it only reads your own account."""
    expires_at: InMoment | None = Field(None, title="Expires")
    """Without it the key works until it is revoked."""


class ApiKeyFormIn(In):
    """A new key, as the page asks for it."""

    name: Annotated[SomeLine, Field(max_length=100)] = Field(title="Name")
    """What it is for; you find it again by this."""
    scopes: Annotated[list[PermissionCode], Field(max_length=50)] = Field(
        default_factory=list, title="The key may"
    )
    expires_in_days: Literal["30", "90", "365", "never"] = Field(title="Expires")


class ApiKeyOut(Out):
    """A key as it is listed."""

    id: UUID
    name: str
    prefix: str
    """The first characters, to tell keys apart."""
    scopes: list[str]
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None


class NewApiKeyOut(Out):
    """A new key; `key` is shown this once."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    expires_at: datetime | None
    key: str
