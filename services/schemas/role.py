"""Roles as they are asked for and shown."""

from typing import Annotated

from pydantic import Field, StringConstraints

from services.permissions import PERMISSIONS
from services.schemas.base import ChangesIn, In, Moment, Out, SomeLine

RoleName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,39}$"),
    Field(json_schema_extra={"examples": ["member"]}),
]
#: A permission code; the service, which knows who asks, refuses what there is not.
PermissionCode = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z_]+:[a-z_]+$", max_length=60),
    Field(json_schema_extra={"enum": list(PERMISSIONS)}),
]
Codes = Annotated[list[PermissionCode], Field(max_length=100)]
Description = Annotated[
    SomeLine, Field(max_length=200), Field(json_schema_extra={"examples": ["Looks after the catalogue"]})
]


class RoleCreateIn(In):
    """A role of your own."""

    name: RoleName = Field(title="Name", examples=["librarian"])
    """Small letters, digits, `-` and `_`, beginning with a letter."""
    description: Description = Field(title="Description")
    permissions: Codes = Field(title="Holders may", examples=[["users:read"]])
    """Permission codes, of those that you have yourself."""


class RoleFormIn(In):
    """A role, as the page asks for it: no box ticked is a role that allows nothing."""

    name: RoleName = Field(
        title="Name", description="Small letters, digits, - and _, beginning with a letter."
    )
    description: Description = Field(title="Description", description="One line that says whom it is for.")
    permissions: Codes = Field(default_factory=list, title="Holders may")


class RoleUpdateIn(ChangesIn):
    """What to change of a role; what is left out stays."""

    name: RoleName | None = Field(None, title="Name", examples=["librarian"])
    """A role that is built in keeps its name."""
    description: Description | None = Field(None, title="Description")
    permissions: Codes | None = Field(None, title="Holders may", examples=[["users:read"]])
    """All it is to allow. The administrators' role keeps everything."""


class RoleOut(Out):
    """A role and what it allows."""

    name: str
    description: str
    permissions: list[str]
    is_built_in: bool
    created_at: Moment
    updated_at: Moment


class PermissionOut(Out):
    """Something that can be allowed."""

    code: str
    description: str
