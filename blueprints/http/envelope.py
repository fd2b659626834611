"""The envelope: the only place that knows how an answer is dressed (docs/api.md)."""

import json
from collections.abc import Mapping
from typing import Any

from flask import Response, request

from services.clock import now
from services.errors import DomainError

JSON = "application/json"


def success(
    data: bytes, *, message: str, status: int = 200, pagination: Mapping[str, Any] | None = None
) -> Response:
    """`data` is JSON already, dumped once by its schema; `pagination` stands beside the data of a list."""
    parts = [b'{"success":true,"data":', data]
    if pagination is not None:
        parts += [b',"pagination":', _dump(pagination)]
    parts += [b',"message":', _dump(message), b',"timestamp":"', timestamp(), b'"}']
    return Response(b"".join(parts), status=status, mimetype=JSON)


def failure(error: DomainError, status: int) -> Response:
    """An error with its registered code; `details` only where there are some."""
    told: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details:
        told["details"] = error.details
    told["request_id"] = request.environ.get("portico.request_id", "")
    body = b'{"success":false,"error":%s,"timestamp":"%s"}' % (_dump(told), timestamp())
    return Response(body, status=status, mimetype=JSON)


def timestamp() -> bytes:
    """The time as ISO 8601 with Z, to the second."""
    return now().strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
