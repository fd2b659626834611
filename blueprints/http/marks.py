"""What is noted on a view for those who look at it later: its rule, its contract, how much it takes."""

from collections.abc import Callable
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])


def mark(view: View, **facts: Any) -> View:
    """The same view, with these attributes; read them with getattr, for not every view has them."""
    view.__dict__.update(facts)
    return view
