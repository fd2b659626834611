"""The way to another page, and where `next=` may lead: to a page of ours, or nowhere (CWE-601)."""

import re
from typing import cast

from flask import Response, redirect

#: Plain segments and a plain query. Our addresses never need more, and what browsers read differently from us
#: (backslashes, control characters, two slashes, dot segments, encoded ones of these) has no place in it.
_SEGMENT = r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*"
_OWN_PATH = re.compile(
    rf"/(?:{_SEGMENT}(?:/{_SEGMENT})*/?)?(?:\?[A-Za-z0-9._~!$'()*+,;:@/?%&=\[\]-]*)?", re.ASCII
)
LONGEST = 2_000


def see_other(location: str) -> Response:
    """The answer that sends a browser on to `location`, which it then gets (303)."""
    return cast("Response", redirect(location, 303))  # Flask makes its own answer and promises Werkzeug's


def own_path(value: str | None) -> str:
    """The path if it is one of ours without doubt, else ""."""
    return value if value and len(value) <= LONGEST and _OWN_PATH.fullmatch(value) else ""
