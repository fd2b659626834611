"""Users as the API and the pages see them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, StringConstraints

from services.schemas.base import Email, In, LongText, Line, Moment, Name, Out, PageQuery, Password, Search

RoleName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


class UserOut(Out):
    """An account."""

    id: int
    email: str
    name: str
    role: str
    is_active: bool
    email_verified: bool
    created_at: Moment
    updated_at: Moment
    last_login_at: Moment | None


class UserCreateIn(In):
    """A new account, made by an administrator."""

    email: Email = Field(title="E-mail address")
    name: Name = Field(title="Name")
    role: RoleName = Field("member", title="Role")
    password: Password | None = Field(None, title="Password")
    """Without a password an invitation is mailed, in which the person sets one."""


class UserReplaceIn(In):
    """Everything of an account that can be changed."""

    name: Name = Field(title="Name")
    email: Email = Field(title="E-mail address")
    role: RoleName = Field(title="Role")
    is_active: bool = Field(title="Active")


class UserUpdateIn(In):
    """What to change; what is left out stays. Without `users:write` only `name`, and only one's own."""

    name: Name = Field(default="", title="Name")
    email: Email = Field(default="", title="E-mail address")
    role: RoleName = Field(default="", title="Role")
    is_active: bool = Field(default=True, title="Active")


class ProfileIn(In):
    """What a person changes about himself."""

    name: Name = Field(title="Name")


class SuspendIn(In):
    """Why an account is suspended; the person reads it."""

    reason: Annotated[LongText, StringConstraints(min_length=1, max_length=500)] = Field(title="Reason")


class RoleIn(In):
    """Another role for an account."""

    role: RoleName = Field(title="Role")


class UserQuery(PageQuery):
    """Which accounts."""

    sorts = ("created_at", "email", "id", "last_login_at", "name", "role", "updated_at")

    q: Search = None
    """Part of the name or address."""
    role: Annotated[RoleName | None, BeforeValidator(lambda value: value or None)] = Field(
        None, alias="filter[role]"
    )
    """Only this role."""
    is_active: Annotated[Literal["true", "false"] | None, BeforeValidator(lambda value: value or None)] = (
        Field(None, alias="filter[is_active]")
    )
    """Only active, or only suspended accounts."""
    email_verified: Annotated[
        Literal["true", "false"] | None, BeforeValidator(lambda value: value or None)
    ] = Field(None, alias="filter[email_verified]")
    """Only confirmed, or only unconfirmed addresses."""


class SessionOut(Out):
    """A signed-in device."""

    id: UUID
    kind: Literal["browser", "api"]
    device_name: str
    user_agent: str | None
    ip: str | None
    created_at: Moment
    last_seen_at: Moment
    current: bool


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
