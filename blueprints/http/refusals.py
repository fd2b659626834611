"""What the server answers itself, because a request can't be read or failed outside of the application.

gunicorn.conf.py asks for it: the envelope or a page, with the headers of every other answer and its line in the log.
"""

import json
import re
import secrets
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from html import escape
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from flask import Flask
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from blueprints.http.envelope import JSON, timestamp
from blueprints.http.errors import OF_HTTP, headers_of
from blueprints.http.headers import ALWAYS, API_POLICY, FORBIDDEN_IN_LOG, HSTS, REQUEST_ID
from blueprints.http.logs import write_access
from services.errors import BadRequest, DomainError, InternalError
from services.origin import set_origin

Refuse = Callable[[int, bytes, str | None], bytes]

#: Method and path; a query is not looked at, since it may hold a one-time token.
LINE = re.compile(rb"([A-Z_-]{1,20}) (?:https?://[^/?# ]*)?([^?#\s]{0,2000})")
HEADER = rb"\r\n%s:[ \t]*([^\r\n]{0,1000})"
ACCEPT, TYPE, ID = (
    re.compile(HEADER % name, re.IGNORECASE) for name in (b"accept", b"content-type", b"x-request-id")
)


def init_app(app: Flask) -> None:
    """Leave `refuse` where the server finds it, as `app.extensions["refuse"]`."""
    app.extensions["refuse"] = partial(refuse, force_https=app.config["FORCE_HTTPS"])


def refuse(status: int, head: bytes, address: str | None, *, force_https: bool) -> bytes:
    """A whole answer in HTTP/1.1, after which the connection is closed, and a line in the access log.

    `head` is what is known of the beginning of the request: all of its headers, some, or nothing. `address` is that
    of the connection. With `force_https` the site is reached over https, and HSTS is sent: what it is worth over http
    is nothing (RFC 6797 section 8.1), and the scheme may stand in a header that was not read.
    """
    kind = OF_HTTP.get(status) or (InternalError if status == 500 else BadRequest)
    given = _text(ID.search(head))
    request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
    line = LINE.match(head)
    method, path = (line[1].decode(), unquote_to_bytes(line[2]).decode("latin-1")) if line else ("", "")
    _log(status, method, path, address, request_id)
    is_json = _wants_json(path, head)
    body = _envelope(kind, request_id) if is_json else _page(kind, status, request_id)
    headers = [
        ("Date", formatdate(usegmt=True)),
        ("Content-Type", JSON if is_json else "text/html; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
        *ALWAYS,
        ("Content-Security-Policy", API_POLICY),
        ("X-Request-ID", request_id),
        *headers_of(kind(), status).items(),
        *([HSTS] if force_https else []),
    ]
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join([*lines, "\r\n"]).encode("ascii") + (b"" if method == "HEAD" else body)


def _text(found: re.Match[bytes] | None) -> str:
    return found[1].decode("latin-1").strip() if found else ""


def _wants_json(path: str, head: bytes) -> bool:
    # As blueprints/http/errors.py tells them apart, where there is a request.
    if path.startswith(("/api/", "/health")) or _text(TYPE.search(head)).lower().startswith(JSON):
        return True
    accepted = parse_accept_header(_text(ACCEPT.search(head)), MIMEAccept)
    return bool(accepted) and accepted.best_match(["text/html", JSON]) == JSON


def _envelope(kind: type[DomainError], request_id: str) -> bytes:
    told = {"code": kind.code, "message": kind.default_message, "details": {}, "request_id": request_id}
    return b'{"success":false,"error":%s,"timestamp":"%s"}' % (json.dumps(told).encode(), timestamp())


def _page(kind: type[DomainError], status: int, request_id: str) -> bytes:
    """No style and no template: it must work for whatever came, whatever state the process is in."""
    title, text = escape(kind.title), escape(kind.default_message)
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title></head>
<body><main>
<h1>{title}</h1>
<p>{text}</p>
<p><a href="/">Go to the start page</a></p>
<p>Error {status} · request <code>{request_id}</code></p>
</main></body>
</html>
""".encode()


def _log(status: int, method: str, path: str, address: str | None, request_id: str) -> None:
    set_origin(address, None, request_id)
    write_access(
        {
            "method": method,
            "path": FORBIDDEN_IN_LOG.sub("?", path),
            "route": None,
            "status": status,
            "duration_ms": 0,
            "address": address,
            "user_id": None,
            "request_id": request_id,
        }
    )
