"""Users as the API and the pages see them."""

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BeforeValidator, Field, StringConstraints

from services.schemas.base import (
    SOME_TEXT_PATTERN,
    ChangesIn,
    Email,
    In,
    LongText,
    Moment,
    Name,
    Out,
    PageQuery,
    Password,
    Search,
)
from services.schemas.role import RoleName


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


class ListedUserOut(UserOut):
    """An account as the command line shows it."""

    frozen_at: Moment | None


class InviteIn(In):
    """Somebody to invite: a mail leads to setting a password."""

    email: Email = Field(title="E-mail address")
    name: Name = Field(title="Name")
    role: RoleName = Field("member", title="Role")


class UserCreateIn(InviteIn):
    """A new account, made by an administrator."""

    password: Password | None = Field(None, title="Password")
    """Without a password an invitation is mailed, in which the person sets one."""


class UserReplaceIn(In):
    """Everything of an account that can be changed."""

    name: Name = Field(title="Name")
    email: Email = Field(title="E-mail address")
    role: RoleName = Field(title="Role")
    is_active: bool = Field(title="Active")


class UserUpdateIn(ChangesIn):
    """What to change; what is left out stays. Without `users:write` only `name`, and only one's own."""

    name: Name | None = Field(None, title="Name")
    email: Email | None = Field(None, title="E-mail address")
    role: RoleName | None = Field(None, title="Role")
    is_active: bool | None = Field(None, title="Active")


class ProfileIn(In):
    """What a person changes about himself."""

    name: Name = Field(title="Name")


class SuspendIn(In):
    """Why an account is suspended; the person reads it."""

    reason: Annotated[LongText, StringConstraints(min_length=1, max_length=500)] = Field(
        title="Reason", json_schema_extra={"pattern": SOME_TEXT_PATTERN, "examples": ["Sent spam."]}
    )
    until: AwareDatetime | None = Field(None, title="Until", examples=["2030-01-31T09:00:00Z"])
    """Then the person can sign in again; without it somebody has to reinstate the account."""


class SuspendFormIn(In):
    """Why an account is suspended, and to which day, as the page asks for it."""

    reason: Annotated[LongText, StringConstraints(min_length=1, max_length=500)] = Field(title="Reason")
    until: date | None = Field(None, title="Until")


class ImpersonateIn(In):
    """Why an administrator signs in as somebody; the person reads it, and the audit log keeps it."""

    reason: Annotated[LongText, StringConstraints(min_length=3, max_length=500)] = Field(title="Reason")


class RoleIn(In):
    """Another role for an account."""

    role: RoleName = Field(title="Role")


class DeleteUserIn(In):
    """Why an account is deleted, and the password of whoever deletes it."""

    reason: Annotated[LongText, StringConstraints(max_length=500)] | None = Field(None, title="Reason")
    current_password: Password = Field(title="Your own password")


class DeleteMeIn(In):
    """The password of whoever leaves; accounts without one leave it out."""

    current_password: Password | None = Field(None, title="Your password")


class UserQuery(PageQuery):
    """Which accounts."""

    sorts = ("created_at", "email", "id", "last_login_at", "name", "role", "updated_at")

    q: Search = None
    """Part of the name or address, or a whole id."""
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
