"""Shared parts of every schema: strict input, plain output, and the kinds of text the product knows.

Strings in an `In` schema use one of the types below, never a bare `str`: each refuses NUL and other control characters,
which PostgreSQL or a mail header would choke on (ASVS 2.2.1).
"""

import re
import unicodedata
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from services.schemas.addresses import EMAIL_MAX_LENGTH, canonical
from services.schemas.seeing import UNSEEN, shows_something

PASSWORD_MAX_LENGTH = 256
OPAQUE_MAX_LENGTH = 512
#: A cursor holds the last row's sort values: at the longest a name and an address, all in four-byte letters.
CURSOR_MAX_LENGTH = 3072
#: More than any line's own limit; NFC of a longer one can take minutes (each mark is sorted among those before it).
LINE_MAX_LENGTH = 1000
#: Nothing outside this is a safe bigint identity.
ID_MAX = 2**63 - 1
# What one line and what a text must not hold: control characters, in a line also breaks and what turns its direction.
_NOT_IN_LINE = r"\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069"
_NOT_IN_TEXT = r"\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"
_SURROGATES = r"\ud800-\udfff"  # never part of JSON, but a form may bring them
_BAD_IN_LINE = re.compile(f"[{_NOT_IN_LINE}{_SURROGATES}]")
_BAD_IN_TEXT = re.compile(f"[{_NOT_IN_TEXT}{_SURROGATES}]")
#: The same for the API document.
LINE_PATTERN = f"^[^{_NOT_IN_LINE}]*$"
SOME_LINE_PATTERN = rf"^[^{_NOT_IN_LINE}]*[^{_NOT_IN_LINE}{UNSEEN}\s][^{_NOT_IN_LINE}]*$"
TEXT_PATTERN = f"^[^{_NOT_IN_TEXT}]*$"
SOME_TEXT_PATTERN = rf"^[^{_NOT_IN_TEXT}]*[^{_NOT_IN_TEXT}{UNSEEN}\s][^{_NOT_IN_TEXT}]*$"


class In(BaseModel):
    """Input: strict types, unknown fields refused by name, never printed in errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )
    #: Fields a form never shows again.
    secret_fields: ClassVar[frozenset[str]] = frozenset({"password", "current_password", "new_password"})


class ChangesIn(In):
    """Input of which each field may be left out, and then stays; null is refused, since it would say neither.

    Declare fields as `name: Name | None = Field(None, …)`; `model_fields_set` and `exclude_unset` tell what was sent.
    """

    @field_validator("*", mode="before")
    @classmethod
    def _not_null(cls, value: Any) -> Any:
        if value is None:  # defaults are not validated: this one was sent
            raise PydanticCustomError("null", "Leave this out, or send a value")
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        properties.update({name: without_null(field) for name, field in properties.items()})
        return schema


class Query(BaseModel):
    """Query string of a call: read leniently from text, unknown names refused, an empty value counts as not given."""

    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True, populate_by_name=False
    )
    #: Parameters that say something by being there, even empty.
    empty_counts: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def parameters(cls) -> list[str]:
        """The names a caller may use."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = set(cls.parameters()) - cls.empty_counts
        return {name: value for name, value in given.items() if value != "" or name not in known}


class Out(BaseModel):
    """Output: exactly these fields, read from a row's attributes."""

    model_config = ConfigDict(from_attributes=True, use_attribute_docstrings=True)


def etag_of(data: bytes) -> str:
    """The entity tag of a representation's data (its envelope bears a time, which is no part of it)."""
    return blake2b(data, digest_size=12).hexdigest()


def without_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    """The JSON schema of a field that may be left out but not be null: no null branch, no default null."""
    told = {name: value for name, value in schema.items() if (name, value) != ("default", None)}
    branches = told.pop("anyOf", [])
    kept = [branch for branch in branches if branch != {"type": "null"}]
    return {**kept[0], **told} if len(kept) == 1 else {**told, **({"anyOf": kept} if kept else {})}


def _line(value: str) -> str:
    if len(value) > LINE_MAX_LENGTH:
        raise PydanticCustomError(
            "string_too_long", "Use at most {max_length} characters", {"max_length": LINE_MAX_LENGTH}
        )
    if _BAD_IN_LINE.search(value):
        raise PydanticCustomError("control_character", "Leave out line breaks and control characters")
    return unicodedata.normalize("NFC", value).strip()


def _text(value: str) -> str:
    if _BAD_IN_TEXT.search(value):
        raise PydanticCustomError("control_character", "Leave out control characters")
    return unicodedata.normalize("NFC", value.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _seen(value: str) -> str:
    if value and not shows_something(value):
        raise PydanticCustomError("invisible", "Use at least one character that can be seen")
    return value


def _email(value: str) -> str:
    try:
        return canonical(value)
    except ValueError:
        raise PydanticCustomError("email", "Enter an e-mail address in the form name@example.com") from None


def _password(value: str) -> str:
    # Kept as received but for NFC, so that the same keys give the same password on every machine (ADR-007).
    value = unicodedata.normalize("NFC", value)
    if re.search(f"[\\x00{_SURROGATES}]", value):
        raise PydanticCustomError("control_character", "This character can't be part of a password")
    if len(value.encode()) > 1024:
        raise PydanticCustomError("string_too_long", "Use at most 256 characters")
    return value


def _opaque(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise PydanticCustomError("opaque", "This is not a value we gave out")
    return value


def _digits(value: Any) -> Any:
    """Plain digits: Python would take `1_000`, `+1`, ` 1` and `1.0` too, and other parsers would not."""
    if isinstance(value, str) and not re.fullmatch(r"-?(0|[1-9][0-9]*)", value, re.ASCII):
        raise PydanticCustomError("int_parsing", "Must be a whole number")
    return value


def _documented(**keywords: Any) -> Any:
    """What the document says of a type beyond what Pydantic can tell: patterns of rules in code, examples."""
    return Field(json_schema_extra=keywords)


#: One line of text, NFC, trimmed. Lengths are said where it is used.
Line = Annotated[str, AfterValidator(_line), _documented(pattern=LINE_PATTERN)]
#: The same with something in it that can be seen.
SomeLine = Annotated[
    str,
    AfterValidator(_line),
    AfterValidator(_seen),
    Field(min_length=1),
    _documented(pattern=SOME_LINE_PATTERN),
]
#: What a thing is called, where it may be called nothing.
Label = Annotated[Line, AfterValidator(_seen)]
#: Text of several lines; not empty, it shows something.
LongText = Annotated[
    str,
    StringConstraints(max_length=10_000),
    AfterValidator(_text),
    AfterValidator(_seen),
    _documented(pattern=TEXT_PATTERN),
]
#: A person's name.
Name = Annotated[SomeLine, StringConstraints(max_length=120), _documented(examples=["Ada Okonkwo"])]
#: An e-mail address in its one spelling.
Email = Annotated[
    str,
    StringConstraints(min_length=3, max_length=EMAIL_MAX_LENGTH),
    AfterValidator(_email),
    _documented(format="email", examples=["ada@example.com"]),
]
#: A password as typed; strength is judged by the service, which knows the account.
Password = Annotated[
    str,
    StringConstraints(min_length=1, max_length=PASSWORD_MAX_LENGTH),
    AfterValidator(_password),
    _documented(
        format="password", writeOnly=True, pattern=r"^[^\u0000]*$", examples=["lantern orchid gravel nine"]
    ),
]
#: A token or code that we gave out.
Opaque = Annotated[
    str,
    StringConstraints(min_length=1, max_length=OPAQUE_MAX_LENGTH),
    AfterValidator(_opaque),
    _documented(pattern="^[ -~]*$", examples=["bXkgdG9rZW4gaXMgbm90IHJlYWxseSBhIHNlY3JldA"]),
]
#: A position in a list that we gave out; empty for its beginning.
Cursor = Annotated[
    str,
    StringConstraints(max_length=CURSOR_MAX_LENGTH),
    AfterValidator(_opaque),
    _documented(pattern="^[ -~]*$"),
]
#: Beside a whole number in a query: nothing but digits.
PlainDigits = BeforeValidator(_digits)
Id = Annotated[int, Field(ge=1, le=ID_MAX), PlainDigits]


#: A time: aware, UTC, written as ISO 8601 with Z.
Moment = datetime


class Nothing(Out):
    """No data: the message says it all."""


class PageQuery(Query):
    """How much of a list, from where, in which order."""

    sorts: ClassVar[tuple[str, ...]] = ()
    default_sort: ClassVar[str] = "-created_at"
    empty_counts = frozenset({"cursor"})

    page: Annotated[int, Field(ge=1, le=1_000_000), PlainDigits] = 1
    """Which page, from 1."""
    per_page: Annotated[int, Field(ge=1, le=100), PlainDigits] = 20
    """Rows on a page."""
    cursor: Cursor | None = None
    """Position from `pagination.next`; empty to start. Stays fast however deep; replaces `page`."""
    sort: Annotated[Line | None, Field(max_length=300)] = None
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

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        sort = handler.resolve_ref_schema(schema)["properties"]["sort"]
        names = [f"{sign}{name}" for name in cls.sorts for sign in ("", "-")]
        for keyword in ("anyOf", "default"):
            sort.pop(keyword)
        sort |= {"type": "array", "items": {"type": "string", "enum": names}, "uniqueItems": True}
        return schema


#: A search text.
Search = Annotated[Line, Field(max_length=200)] | None


def _moment(value: Any) -> Any:
    """A moment in UTC: PostgreSQL knows no offsets beyond sixteen hours, of which Python takes twenty-four."""
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PydanticCustomError("datetime", "There is no such date or time") from None


def _whole_moment(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(f"{_DATE}T{_TIME}", value):
        raise PydanticCustomError("datetime", "Use a time with its offset, such as 2026-11-20T09:30:00Z")
    return _moment(value)


def _date_or_moment(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(f"{_DATE}(T{_TIME})?", value):
        raise PydanticCustomError(
            "datetime", "Use a date such as 2026-11-20, or a time such as 2026-11-20T09:30:00Z"
        )
    return _moment(value)


# RFC 3339, of which `fromisoformat` takes more than it should: weeks, basic forms, times without an offset.
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"

#: A moment in a body: a time with its offset.
InMoment = Annotated[
    datetime,
    BeforeValidator(_whole_moment),
    _documented(format="date-time", examples=["2030-01-01T00:00:00Z"]),
]
#: A moment in a query: a date (its first instant in UTC) or a time with its offset.
QueryMoment = Annotated[
    datetime,
    BeforeValidator(_date_or_moment),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}],
            "examples": ["2026-11-20T09:30:00Z", "2026-11-20"],
        }
    ),
]
