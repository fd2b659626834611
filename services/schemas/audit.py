"""The audit log as it is read."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints

from services.schemas.base import Id, Moment, Out, PageQuery, QueryMoment


def _blank(value: Any) -> Any:
    return None if value == "" else value


class AuditEventOut(Out):
    """Something that happened."""

    id: int
    action: str
    actor_id: int | None
    actor_name: str | None
    target_id: int | None
    target_name: str | None
    ip: str | None
    user_agent: str | None
    request_id: str | None
    details: dict[str, Any]
    created_at: Moment


class OwnEventOut(Out):
    """Something that happened to the caller's account; `by_you` tells whether they did it themselves."""

    id: int
    """1, 2, 3 … for each person, in the order in which it happened; never given twice."""
    action: str
    by_you: bool
    ip: str | None
    user_agent: str | None
    created_at: Moment


class OwnEventQuery(PageQuery):
    """Which events of one's own; not by whom, since that is nobody's to find out."""

    sorts = ("created_at", "id")
    default_sort = "-id"  # as they happened, too; and an account's events have an index in this order

    action: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[a-z_]+(:[a-z_]+)*$", max_length=80)] | None,
        BeforeValidator(_blank),
    ] = Field(None, alias="filter[action]")
    """An action, or the beginning of several: `account:login`."""
    since: Annotated[QueryMoment | None, BeforeValidator(_blank)] = Field(None, alias="filter[from]")
    """From this moment on."""
    until: Annotated[QueryMoment | None, BeforeValidator(_blank)] = Field(None, alias="filter[to]")
    """Before this moment."""


class AuditQuery(OwnEventQuery):
    """Which events."""

    default_sort = "-created_at"

    actor_id: Annotated[Id | None, BeforeValidator(_blank)] = Field(None, alias="filter[actor_id]")
    """Who did it."""
    target_id: Annotated[Id | None, BeforeValidator(_blank)] = Field(None, alias="filter[target_id]")
    """Whom it was done to."""
