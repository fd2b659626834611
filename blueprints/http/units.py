"""Views that open their own units of work: those that wait for another server in between."""

from collections.abc import Callable
from typing import Any, TypeVar

from blueprints.http.marks import mark

View = TypeVar("View", bound=Callable[..., Any])


def opens_units(view: View) -> View:
    """The view says itself where it reads and writes, so that it holds no connection while somebody else is slow."""
    return mark(view, opens_units=True)  # read where requests are dispatched
