"""Files that callers send: which views take more than a form, and how a file is read."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

from flask import request

from blueprints.http.marks import mark
from services.errors import Invalid, PayloadTooLarge, UnsupportedMediaType

View = TypeVar("View", bound=Callable[..., Any])
MULTIPART = "multipart/form-data"
#: Beside the file: boundaries, headers, the form's token.
AROUND_BYTES = 64 * 1024


def takes_up_to(file_bytes: int) -> Callable[[View], View]:
    """Let a view's body be larger than others; write it below the view's rule. `guard` honours it."""

    def decorate(view: View) -> View:
        return mark(view, largest_body=file_bytes + AROUND_BYTES)

    return decorate


def sent_file(name: str, *, media: tuple[str, ...] = ()) -> bytes:
    """The file in the form's field `name`, or the whole body when it is one of `media`.

    Raises Invalid when nothing was sent, UnsupportedMediaType or PayloadTooLarge.
    """
    if request.mimetype == MULTIPART:
        sent = request.files.get(name)
        data = sent.read() if sent is not None else b""
    elif request.mimetype in media and request.headers.get("Content-Encoding", "identity") == "identity":
        data = request.get_data()  # kept, as the view is run again after a deadlock
        if request.content_length is None and len(data) >= (request.max_content_length or math.inf):
            raise PayloadTooLarge  # Werkzeug cuts a chunked body off at the limit, and says nothing
    else:
        raise UnsupportedMediaType(f"Send {', '.join((*media, MULTIPART))}.")
    if not data:
        raise Invalid.field(name, "Choose a file", "no_file")
    return data
