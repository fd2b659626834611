"""What no view should ever see: broken encodings, foreign hosts, what should have come over https, too much."""

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from flask import current_app, request

from blueprints.http.headers import FOREIGN_HOST, INSECURE, is_probe
from services.errors import BadRequest, ForeignHost, HttpsRequired, PayloadTooLarge, Unavailable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
IN_DEVELOPMENT = (
    "In development only this machine's own names are answered. If this one is yours too (of a tunnel, a container, a "
    "machine in your network), start again with TRUSTED_HOSTS set to it."
)
MAX_QUERY_LENGTH = 4096
OVERLOADED_SECONDS = 2


def check() -> None:
    """Refuse the request before its view is looked at.

    Raises BadRequest, HttpsRequired, PayloadTooLarge or Unavailable.
    """
    environ = request.environ
    if environ.get("portico.overloaded"):  # the server says so (gunicorn.conf.py)
        raise Unavailable(retry_after_seconds=OVERLOADED_SECONDS)
    _path_and_query(environ)
    if environ[FOREIGN_HOST] and not is_probe(request.path):
        raise ForeignHost(IN_DEVELOPMENT if current_app.config["ENVIRONMENT"] == "development" else None)
    if environ.get(INSECURE):
        raise HttpsRequired
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
