"""Shared parts of every schema: strict input, plain output, and the kinds of text the product knows.

Strings in an `In` schema use one of the types below, never a bare `str`: each refuses NUL and other control characters,
which PostgreSQL or a mail header would choke on (ASVS 2.2.1).
"""

import re
import unicodedata
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Any, ClassVar, Literal

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

EMAIL_MAX_LENGTH = 254
PASSWORD_MAX_LENGTH = 256
#: Nothing outside this is a safe bigint identity.
ID_MAX = 2**63 - 1
BIDI_CONTROLS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class In(BaseModel):
    """Input: strict types, unknown fields refused by name, never printed in errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )
    #: Fields a form never shows again.
    secret_fields: ClassVar[frozenset[str]] = frozenset({"password", "current_password", "new_password"})


class Query(BaseModel):
    """Query string of a call: read leniently from text, unknown names refused."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True, populate_by_name=False
    )


class Out(BaseModel):
    """Output: exactly these fields, read from a row's attributes."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)


def etag_of(data: bytes) -> str:
    """The entity tag of a representation's data (its envelope bears a time, which is no part of it)."""
    return blake2b(data, digest_size=12).hexdigest()


def _line(value: str) -> str:
    value = unicodedata.normalize("NFC", value).strip()
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or char in BIDI_CONTROLS for char in value):
        raise PydanticCustomError("control_character", "Leave out line breaks and control characters")
    return value


def _text(value: str) -> str:
    value = unicodedata.normalize("NFC", value.replace("\r\n", "\n")).strip()
    if any(unicodedata.category(char) in {"Cc", "Cs"} and char not in "\n\t" for char in value):
        raise PydanticCustomError("control_character", "Leave out control characters")
    return value


def _email(value: str) -> str:
    if len(value) > EMAIL_MAX_LENGTH:
        raise PydanticCustomError("email", "Enter an e-mail address of at most 254 characters")
    try:
        return validate_email(value.strip(), check_deliverability=False, test_environment=False).normalized
    except EmailNotValidError:
        raise PydanticCustomError("email", "Enter an e-mail address in the form name@example.com") from None


def _password(value: str) -> str:
    # Kept as received but for NFC, so that the same keys give the same password on every machine (ADR-007).
    value = unicodedata.normalize("NFC", value)
    if "\x00" in value or any(unicodedata.category(char) == "Cs" for char in value):
        raise PydanticCustomError("control_character", "This character can't be part of a password")
    if len(value.encode()) > 1024:
        raise PydanticCustomError("string_too_long", "Use at most 256 characters")
    return value


def _opaque(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise PydanticCustomError("opaque", "This is not a value we gave out")
    return value


#: One line of text, NFC, trimmed. Lengths are said where it is used.
Line = Annotated[str, AfterValidator(_line)]
#: Text of several lines.
LongText = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_text)]
#: A person's name.
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=120), AfterValidator(_line), Field(min_length=1)
]
#: An e-mail address; the domain in its Unicode form, the local part as typed.
Email = Annotated[
    str,
    StringConstraints(min_length=3, max_length=EMAIL_MAX_LENGTH),
    AfterValidator(_email),
    WithJsonSchema({"type": "string", "format": "email", "minLength": 3, "maxLength": EMAIL_MAX_LENGTH}),
]
#: A password as typed; strength is judged by the service, which knows the account.
Password = Annotated[
    str,
    StringConstraints(min_length=1, max_length=PASSWORD_MAX_LENGTH),
    AfterValidator(_password),
    WithJsonSchema(
        {
            "type": "string",
            "format": "password",
            "writeOnly": True,
            "minLength": 1,
            "maxLength": PASSWORD_MAX_LENGTH,
        }
    ),
]
#: A token or code that we gave out.
Opaque = Annotated[str, StringConstraints(min_length=1, max_length=512), AfterValidator(_opaque)]
Id = Annotated[int, Field(ge=1, le=ID_MAX)]


#: A time: aware, UTC, written as ISO 8601 with Z.
Moment = datetime


class Nothing(Out):
    """No data: the message says it all."""


class PageQuery(Query):
    """How much of a list, from where, in which order."""

    sorts: ClassVar[tuple[str, ...]] = ()
    default_sort: ClassVar[str] = "-created_at"

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Which page, from 1."""
    per_page: Annotated[int, Field(ge=1, le=100)] = 20
    """Rows on a page."""
    cursor: Annotated[Opaque | Literal[""] | None, Field(max_length=512)] = None
    """Position from `pagination.next`; empty to start. Stays fast however deep; replaces `page`."""
    sort: Annotated[Line | None, Field(max_length=100)] = None
    """Fields, comma separated, `-` for descending."""

    def order(self) -> list[tuple[str, bool]]:
        """The sort as (field, descending), checked against what can be sorted."""
        return [
            (part.removeprefix("-"), part.startswith("-"))
            for part in (self.sort or self.default_sort).split(",")
        ]

    @field_validator("sort")
    @classmethod
    def _sortable(cls, value: str | None) -> str | None:
        names = [part.removeprefix("-") for part in value.split(",")] if value else []
        if any(name not in cls.sorts for name in names) or len(set(names)) != len(names):
            allowed = ", ".join(cls.sorts)
            raise PydanticCustomError("sort", "Sort by one or more of: {allowed}", {"allowed": allowed})
        return value or None


def _blank_to_none(value: Any) -> Any:
    return None if value == "" else value


#: A search text; an empty one searches nothing.
Search = Annotated[Line | None, BeforeValidator(_blank_to_none), Field(max_length=200)]


def _iso_moment(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not re.match(r"\d{4}-\d\d-\d\d(T|$)", value):
        raise PydanticCustomError(
            "datetime", "Use a date such as 2026-11-20, or a time such as 2026-11-20T09:30:00Z"
        )
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("datetime", "There is no such date or time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


#: A moment in a query: a date (its first instant in UTC) or a time with offset.
QueryMoment = Annotated[datetime, BeforeValidator(_iso_moment)]
