"""Unsafe requests that another site made a browser send."""

from flask import current_app, request

from extensions import csrf
from services.errors import CsrfFailed


def check_origin() -> None:
    """Refuse unsafe requests that another site made: by Fetch metadata or Origin, and forms by their token."""
    if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        raise CsrfFailed("The request came from another site.")
    source = request.headers.get("Origin")
    if source is not None and not is_ours(source):
        raise CsrfFailed("The request came from another site.")
    if request.mimetype != "application/json":
        csrf.protect()


def is_ours(source: str) -> bool:
    """Whether an origin (scheme, host, port) is this site."""
    # The scheme counts: what comes from the same name over plain http may be anybody's on the way.
    return source.lower() in {
        current_app.config["BASE_URL"].lower(),
        f"{request.scheme}://{request.host}".lower(),
    }
