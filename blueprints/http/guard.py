"""What no view should ever see: broken encodings, control characters, foreign hosts, too much of anything."""

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from flask import current_app, request

from services.errors import BadRequest, PayloadTooLarge, Unavailable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
HOST = re.compile(r"[a-z0-9.-]+(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?", re.ASCII)
MAX_QUERY_LENGTH = 4096
OVERLOADED_SECONDS = 2


def check() -> None:
    """Refuse the request before its view is looked at. Raises BadRequest, PayloadTooLarge or Unavailable."""
    environ = request.environ
    if environ.get("portico.overloaded"):  # the server says so (gunicorn.conf.py)
        raise Unavailable(retry_after_seconds=OVERLOADED_SECONDS)
    _path_and_query(environ)
    if not request.path.startswith("/health"):  # probes come by address, not by name
        _host(environ.get("HTTP_HOST", ""))
    largest = request.max_content_length = _largest_body()
    length = request.content_length
    if length is not None and length > largest:
        raise PayloadTooLarge


def _largest_body() -> int:
    """How many bytes the view takes. Werkzeug keeps forms small only where they come in parts."""
    if request.mimetype == "application/x-www-form-urlencoded":
        return int(current_app.config["MAX_FORM_MEMORY_SIZE"])
    view = current_app.view_functions.get(request.endpoint or "")
    largest: int | None = getattr(view, "largest_body", None)  # blueprints/http/upload.py
    return largest or int(current_app.config["MAX_CONTENT_LENGTH"])


def _path_and_query(environ: "WSGIEnvironment") -> None:
    try:
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8")
        query = (
            unquote_to_bytes(environ.get("QUERY_STRING", "")).decode("utf-8")
            if environ.get("QUERY_STRING")
            else ""
        )
    except UnicodeError:
        raise BadRequest("The address is not valid UTF-8.") from None
    if CONTROL.search(path) or "\x00" in query:
        raise BadRequest("The address holds control characters.")
    if len(query) > MAX_QUERY_LENGTH:
        raise BadRequest("The query is too long.")


def _host(host: str) -> None:
    trusted: tuple[str, ...] = current_app.config["TRUSTED_HOST_NAMES"]
    host = host.lower()
    if not HOST.fullmatch(host):
        raise BadRequest("The Host header is not valid.")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if trusted and not any(_matches(name, pattern) for pattern in trusted):
        raise BadRequest("The Host header names a site that is not served here.")


def _matches(name: str, pattern: str) -> bool:
    return pattern in {"*", name} or (pattern.startswith(".") and name.endswith(pattern))
