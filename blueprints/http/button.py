"""Forms that are nothing but their button."""

from collections.abc import Callable
from typing import Any

from flask import Response, flash

from blueprints.http.form import Form, told
from blueprints.http.redirects import see_other
from services.schemas.base import In


class Pressed(In):
    """Nothing was filled in."""


def press(act: Callable[[], Any], *, message: str, back: str) -> Response:
    """Do what the button says and return to `back`, with the message or with what stood in the way."""
    form = Form(Pressed)
    if form.submit(lambda _: act()):
        return told(back, message=message)
    flash(form.errors[0][1], "danger")
    return see_other(back)
