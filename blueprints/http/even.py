"""Answers that must not tell by the clock whether somebody has an account (ASVS 6.3.8, security case A16)."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from flask import current_app, request

from blueprints.http.marks import mark

View = TypeVar("View", bound=Callable[..., Any])


def evenly(view: View) -> View:
    """What the view writes for a known address takes some milliseconds longer: its answers wait for each other."""
    return mark(view, answers_evenly=True)  # read where requests are dispatched


def wait(began: float) -> None:
    """Until EVEN_ANSWERS_MILLISECONDS after `began`, when the view is such a one. After the commit: no lock is held."""
    if hasattr(current_app.view_functions.get(request.endpoint or ""), "answers_evenly"):
        left = began + current_app.config["EVEN_ANSWERS_MILLISECONDS"] / 1000 - time.monotonic()
        if left > 0:
            time.sleep(left)
