"""From bytes, query strings and form fields to schemas, and from Pydantic's faults to sentences people understand."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, get_origin

from flask import request
from pydantic import BaseModel, TypeAdapter, ValidationError
from werkzeug.datastructures import MultiDict

from services.errors import Invalid, MalformedJson, PayloadTooLarge, UnsupportedMediaType
from services.schemas.base import Query

#: Pydantic's fault type → what a person reads. `{…}` are the fault's own limits.
SENTENCES: dict[str, str] = {
    "missing": "This is needed",
    "extra_forbidden": "There is no such field",
    "string_type": "Must be text",
    "int_type": "Must be a whole number",
    "int_parsing": "Must be a whole number",
    "int_parsing_size": "Is too large",
    "int_from_float": "Must be a whole number",
    "bool_type": "Must be true or false",
    "greater_than_equal": "Must be at least {ge}",
    "less_than_equal": "Must be at most {le}",
    "string_too_long": "Use at most {max_length} characters",
    "string_unicode": "Must be text in Unicode",
    "string_pattern_mismatch": "Has the wrong form",
    "literal_error": "Must be one of {expected}",
    "model_type": "Must be an object",
    "model_attributes_type": "Must be an object",
    "list_type": "Must be a list",
    "datetime_type": "Must be a date or time",
    "datetime_parsing": "Must be a date or time",
    "uuid_parsing": "Must be a UUID",
}
MAX_DEPTH = 32
#: Fields and items of lists in one body, at every depth together: each costs time and memory before it is refused.
MAX_VALUES = 2_000
#: A body with a thousand unknown fields is told about the first of them.
MAX_FAULTS = 100
#: An unknown field's name is the caller's own: no more of it is given back.
MAX_FIELD_LENGTH = 200
#: What a body's structure is made of; strings are passed over together with what may stand between them.
STRUCTURE = re.compile(r'(?:"(?:[^"\\]++|\\.)*+"?[\s:]*+)++|[\[\]{},]', re.DOTALL)
STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


def read_json(adapter: TypeAdapter[Any]) -> Any:
    """The request's body as the adapter's schema.

    Raises UnsupportedMediaType, PayloadTooLarge, Invalid or MalformedJson (not UTF-8, not JSON, half a surrogate pair,
    duplicate names, NaN, too deep).
    """
    if (
        request.mimetype != "application/json"
        or request.headers.get("Content-Encoding", "identity") != "identity"
    ):
        raise UnsupportedMediaType
    data = request.get_data()
    if request.content_length is None and len(data) >= (request.max_content_length or math.inf):
        raise PayloadTooLarge  # Werkzeug cuts a chunked body off at the limit, and says nothing
    _refuse_odd_json(data)
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        raise _malformed(error) or faults(error) from None


def read_query(schema: type[Query]) -> Any:
    """The query string as a schema; a name given twice is refused (ASVS 15.3.7), an unknown one with the known."""
    given: dict[str, str] = {}
    for name, values in request.args.lists():
        if len(values) > 1:
            raise Invalid.field(name, "Give this once", "duplicate")
        given[name] = values[0]
    try:
        return schema.model_validate(given)
    except ValidationError as error:
        raise faults(error, allowed=schema.parameters()) from None


def read_form(schema: type[BaseModel], values: MultiDict[str, str]) -> Any:
    """Form fields as a schema. Blank fields count as not given; check boxes and numbers come as text.

    A field that is a list takes every value of its name: a group of check boxes.
    """
    given: dict[str, Any] = {
        name: values.getlist(name) if get_origin(field.annotation) is list else values[name]
        for name, field in schema.model_fields.items()
        if values.get(name, "") != ""
    }
    try:
        return schema.model_validate(given, strict=False)
    except ValidationError as error:
        raise faults(error) from None


def faults(error: ValidationError, *, allowed: Iterable[str] = ()) -> Invalid:
    """The first hundred faults: field as a path (`tags.0`), what to do, and Pydantic's stable type as code.

    `allowed` are the names to tell where an unknown one was given.
    """
    found = [
        {"field": _path(fault["loc"]), "error": _sentence(fault, allowed), "code": _code(fault)}
        for fault in error.errors(include_url=False, include_input=False)[:MAX_FAULTS]
    ]
    return Invalid.fields(_once(found))


def _malformed(error: ValidationError) -> MalformedJson | None:
    """Pydantic's parser is stricter than Python's: it refuses half a surrogate pair, which is no character."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return MalformedJson() if first["type"] == "json_invalid" else None


def _once(found: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    seen: dict[tuple[str, str], dict[str, str]] = {}
    for fault in found:
        seen.setdefault((fault["field"], fault["error"]), fault)
    return list(seen.values())


def _path(location: tuple[int | str, ...]) -> str:
    path = ".".join(str(part) for part in location if not (isinstance(part, str) and part.endswith("In")))
    return path if len(path) <= MAX_FIELD_LENGTH else f"{path[: MAX_FIELD_LENGTH - 1]}…"


def _code(fault: Any) -> str:
    """Pydantic says `too_long` where a text is measured after it was cleaned: for callers that is the same fault."""
    kind = str(fault["type"])
    is_text = (fault.get("ctx") or {}).get("field_type") == "Value"
    return f"string_{kind}" if is_text and kind in {"too_short", "too_long"} else kind


def _sentence(fault: Any, allowed: Iterable[str]) -> str:
    context, code = fault.get("ctx") or {}, _code(fault)
    if code == "string_too_short":
        short = context.get("min_length") == 1
        return "This is needed" if short else f"Use at least {context['min_length']} characters"
    if code == "extra_forbidden" and allowed:
        return f"There is no such parameter; there are: {', '.join(allowed)}"
    template = SENTENCES.get(code)
    return template.format(**context) if template else str(fault["msg"])


def _refuse_odd_json(data: bytes) -> None:
    try:
        text = data.decode("utf-8")
        _refuse_too_much(text)
        value = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise MalformedJson from None
    if not isinstance(value, dict):
        raise MalformedJson("The body must be a JSON object.")


def _refuse_too_much(text: str) -> None:
    """Count before anything is built of it. Raises MalformedJson (too deep) or Invalid (too many values)."""
    if sum(map(text.count, "{[,")) <= MAX_DEPTH:
        return
    depth, values = 0, 0
    for found in STRUCTURE.finditer(text):
        step = STEPS.get(found[0], 0)
        depth += step
        values += step == 1 or found[0] == ","
        if depth > MAX_DEPTH:
            raise MalformedJson("The body is nested too deeply.")
        if values > MAX_VALUES:
            raise Invalid.field("", f"Send at most {MAX_VALUES} fields and items of lists", "too_many_values")
        if depth < 0:
            return  # no JSON, as the parser is about to say


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate name")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)
