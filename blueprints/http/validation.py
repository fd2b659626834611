"""From bytes, query strings and form fields to schemas, and from Pydantic's faults to sentences people understand."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from flask import request
from pydantic import BaseModel, TypeAdapter, ValidationError

from services.errors import Invalid, MalformedJson, UnsupportedMediaType

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


def read_json(adapter: TypeAdapter[Any]) -> Any:
    """The request's body as the adapter's schema.

    Raises UnsupportedMediaType, MalformedJson (not UTF-8, not JSON, duplicate names, NaN, too deep) or Invalid.
    """
    if (
        request.mimetype != "application/json"
        or request.headers.get("Content-Encoding", "identity") != "identity"
    ):
        raise UnsupportedMediaType
    data = request.get_data()
    _refuse_odd_json(data)
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        raise faults(error) from None


def read_query(schema: type[BaseModel]) -> Any:
    """The query string as a schema; a name given twice is refused (ASVS 15.3.7)."""
    given: dict[str, str] = {}
    for name, values in request.args.lists():
        if len(values) > 1:
            raise Invalid.field(name, "Give this once", "duplicate")
        given[name] = values[0]
    try:
        return schema.model_validate(given)
    except ValidationError as error:
        raise faults(error) from None


def read_form(schema: type[BaseModel], values: Mapping[str, str]) -> Any:
    """Form fields as a schema. Blank fields count as not given; check boxes and numbers come as text."""
    given = {name: value for name, value in values.items() if name in schema.model_fields and value != ""}
    try:
        return schema.model_validate_strings(given, strict=False)
    except ValidationError as error:
        raise faults(error) from None


def faults(error: ValidationError) -> Invalid:
    """Every fault with its field as a path (`tags.0`), what to do, and Pydantic's stable type as code."""
    found = [
        {"field": _path(fault["loc"]), "error": _sentence(fault), "code": fault["type"]}
        for fault in error.errors(include_url=False, include_input=False)
    ]
    return Invalid.fields(_once(found))


def _once(found: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    seen: dict[tuple[str, str], dict[str, str]] = {}
    for fault in found:
        seen.setdefault((fault["field"], fault["error"]), fault)
    return list(seen.values())


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location if not (isinstance(part, str) and part.endswith("In")))


def _sentence(fault: Any) -> str:
    context = fault.get("ctx") or {}
    if fault["type"] == "string_too_short":
        short = context.get("min_length") == 1
        return "This is needed" if short else f"Use at least {context['min_length']} characters"
    template = SENTENCES.get(fault["type"])
    return template.format(**context) if template else str(fault["msg"])


def _refuse_odd_json(data: bytes) -> None:
    try:
        text = data.decode("utf-8")
        if _too_deep(text):
            raise MalformedJson("The body is nested too deeply.")
        value = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise MalformedJson from None
    if not isinstance(value, dict):
        raise MalformedJson("The body must be a JSON object.")


def _too_deep(text: str) -> bool:
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest > MAX_DEPTH


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate name")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(name)
