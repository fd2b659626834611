"""The envelope: the only place that knows how an answer is dressed (docs/api.md)."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from flask import Response, request

from services.clock import now
from services.errors import DomainError, Invalid, WeakPassword, registry

JSON = "application/json"
EXAMPLE_TIME = "2026-11-20T09:30:00Z"
EXAMPLE_REQUEST_ID = "6f1d2c8a4b3e4f5a9c7d8e0f1a2b3c4d"
EXAMPLE_FAULTS: dict[type[DomainError], dict[str, str]] = {
    Invalid: {
        "field": "email",
        "error": "Enter an e-mail address in the form name@example.com",
        "code": "email",
    },
    WeakPassword: {"field": "password", "error": "Use at least 15 characters", "code": "weak_password"},
}
#: JSON schemas of what stands in an envelope; `data` and `code` are more precise at each endpoint.
SCHEMAS: dict[str, dict[str, Any]] = {
    "Pagination": {
        "type": "object",
        "description": "Where in the list this page is.",
        "required": ["page", "per_page", "total", "total_is_exact", "pages", "next", "prev"],
        "properties": {
            "page": {"type": ["integer", "null"], "description": "From 1; null when a cursor leads."},
            "per_page": {"type": "integer"},
            "total": {"type": "integer", "description": "Rows that match."},
            "total_is_exact": {"type": "boolean", "description": "False: there are more than `total`."},
            "pages": {"type": ["integer", "null"], "description": "Null when a cursor leads."},
            "next": {"type": ["string", "null"], "format": "uri", "description": "The next page."},
            "prev": {"type": ["string", "null"], "format": "uri", "description": "The page before."},
        },
    },
    "Fault": {
        "type": "object",
        "description": "One thing that is wrong with one field.",
        "required": ["field", "error", "code"],
        "properties": {
            "field": {"type": "string", "description": "Its path, such as `tags.0`."},
            "error": {"type": "string", "description": "For people."},
            "code": {"type": "string", "description": "For programs."},
        },
    },
    "ErrorEnvelope": {
        "type": "object",
        "description": "Every error wears this.",
        "required": ["success", "error", "timestamp"],
        "additionalProperties": False,
        "properties": {
            "success": {"const": False},
            "error": {
                "type": "object",
                "required": ["code", "message", "request_id"],
                "additionalProperties": False,
                "properties": {
                    "code": {"enum": list(registry()), "description": "See /problems/<code>."},
                    "message": {"type": "string", "description": "For people."},
                    "details": {
                        "type": "object",
                        "description": "The first faulty field, then all of them; other errors have their own.",
                        "properties": {
                            "field": {"type": "string"},
                            "error": {"type": "string"},
                            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Fault"}},
                        },
                    },
                    "request_id": {"type": "string", "description": "The log has it too."},
                },
            },
            "timestamp": {"type": "string", "format": "date-time"},
        },
    },
}


def success(
    data: bytes, *, message: str, status: int = 200, pagination: Mapping[str, Any] | None = None
) -> Response:
    """`data` is JSON already, dumped once by its schema; `pagination` stands beside the data of a list."""
    parts = [b'{"success":true,"data":', data]
    if pagination is not None:
        parts += [b',"pagination":', _dump(pagination)]
    parts += [b',"message":', _message(message), b',"timestamp":"', timestamp(), b'"}']
    return Response(b"".join(parts), status=status, mimetype=JSON)


def failure(error: DomainError, status: int) -> Response:
    """An error with its registered code; `details` only where there are some."""
    told: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details:
        told["details"] = error.details
    told["request_id"] = request.environ.get("portico.request_id", "")
    body = b'{"success":false,"error":%s,"timestamp":"%s"}' % (_dump(told), timestamp())
    return Response(body, status=status, mimetype=JSON)


def success_schema(data: Mapping[str, Any], *, paged: bool) -> dict[str, Any]:
    """The JSON schema of an envelope around `data`."""
    pagination = {"pagination": {"$ref": "#/components/schemas/Pagination"}} if paged else {}
    properties = {
        "success": {"const": True},
        "data": data,
        **pagination,
        "message": {"type": "string", "description": "For people."},
        "timestamp": {"type": "string", "format": "date-time"},
    }
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def failure_schema(codes: list[str]) -> dict[str, Any]:
    """The JSON schema of an error that bears one of these codes."""
    code = {"properties": {"code": {"enum": codes}}}
    return {"allOf": [{"$ref": "#/components/schemas/ErrorEnvelope"}, {"properties": {"error": code}}]}


def failure_example(error: type[DomainError]) -> dict[str, Any]:
    """What an error looks like, for the documentation."""
    told: dict[str, Any] = {"code": error.code, "message": error.default_message}
    if fault := EXAMPLE_FAULTS.get(error):
        told["details"] = {"field": fault["field"], "error": fault["error"], "errors": [fault]}
    return {
        "success": False,
        "error": {**told, "request_id": EXAMPLE_REQUEST_ID},
        "timestamp": EXAMPLE_TIME,
    }


def timestamp() -> bytes:
    """The time as ISO 8601 with Z, to the second."""
    return b"%sZ" % now().isoformat(timespec="seconds")[:19].encode()


@cache
def _message(text: str) -> bytes:
    return _dump(text)


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
