"""The HTTP room: turns requests into calls and answers into JSON or pages. Discovered, not listed."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

from flask import Blueprint, Flask

import blueprints


def register_blueprints(app: Flask) -> None:
    """Register the `bp` of every module below this package."""
    for module in _modules(blueprints):
        bp = getattr(module, "bp", None)
        if isinstance(bp, Blueprint):
            app.register_blueprint(bp)


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in sorted(
        pkgutil.walk_packages(package.__path__, f"{package.__name__}."), key=lambda m: m.name
    ):
        yield importlib.import_module(found.name)
