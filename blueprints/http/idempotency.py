"""Idempotency-Key on POST and PATCH: repeat a call whose answer was lost, and it takes effect once."""

import hashlib
import json
import re
from collections.abc import Callable

from flask import Response, request

from services import idempotency_service, throttle_service
from services.errors import BadRequest, DomainError
from services.principal import Principal

METHODS = frozenset({"POST", "PATCH"})
KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)


def once(by: Principal | None, act: Callable[[], Response]) -> Response:
    """Run `act`, or give the answer it gave before under the same key. Only successes are kept."""
    key = request.headers.get("Idempotency-Key")
    if key is None or request.method not in METHODS:
        return act()
    if not KEY.fullmatch(key):
        raise BadRequest("Idempotency-Key must be 1 to 255 visible ASCII characters.")
    scope = f"user:{by.user_id}" if by else f"address:{throttle_service.address()}"
    kept = idempotency_service.claim(scope, key, _digest())
    if kept is not None:
        return _replay(kept)
    try:
        response = act()
    except DomainError as error:
        if error.keep_changes:  # committed, and the claim with it; everything else is rolled back
            idempotency_service.release(scope, key)
        raise
    idempotency_service.keep(
        scope, key, json.dumps([response.status_code, response.get_data(as_text=True)]).encode()
    )
    return response


def _digest() -> bytes:
    text = f"{request.method} {request.full_path}\n".encode()
    return hashlib.sha256(text + request.get_data()).digest()


def _replay(kept: bytes) -> Response:
    status, body = json.loads(kept)
    response = Response(body, status=status, mimetype="application/json")
    response.headers["Idempotent-Replayed"] = "true"
    return response
