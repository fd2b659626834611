"""The mail outbox as it is read: never with the content of a mail, which holds links that open accounts."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, Field

from models.enums import MailStatus
from services.schemas.base import Moment, Out, PageQuery


def _blank(value: Any) -> Any:
    return None if value == "" else value


class MailOut(Out):
    """A mail on its way."""

    id: UUID
    kind: str
    to_address: str
    subject: str
    status: MailStatus
    attempts: int
    last_error: str | None
    created_at: Moment
    available_at: Moment
    sent_at: Moment | None


#: Where a mail can be.
STATES = tuple(MailStatus)


class OutboxQuery(PageQuery):
    """Which mails."""

    sorts = ("created_at",)

    status: Annotated[MailStatus | None, BeforeValidator(_blank)] = Field(None, alias="filter[status]")
    """Where they are on their way: `queued`, `sent` or `failed`."""


class OutboxStats(Out):
    """The outbox in three numbers. `oldest_queued_at` is None when nothing waits."""

    queued: int
    failed: int
    oldest_queued_at: datetime | None


class MailboxMail(Out):
    """A mail as the development mailbox shows it."""

    id: UUID
    to: str
    subject: str
    text: str
    html: str
    created_at: Moment
