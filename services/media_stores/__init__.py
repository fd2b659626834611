"""The places where pictures can be kept, and what they have in common.

Every failure of disk or bucket is Unavailable: nothing was changed, and it may be tried again.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Protocol

import structlog

from services.errors import Unavailable

log = structlog.get_logger(__name__)

AWAY = "Pictures can't be kept or fetched right now. Nothing was changed."
SIZES = (256, 64)
FILE = re.compile(rf"[0-9a-f]{{32}}-({'|'.join(map(str, SIZES))})\.webp", re.ASCII)


class Store(Protocol):
    """Files by name."""

    @property
    def place(self) -> str:
        """Where that is, for operators."""

    def save(self, name: str, content: bytes) -> None:
        """Keep a file, whole or not at all. Raises Unavailable."""

    def read(self, name: str) -> bytes:
        """A file. Raises NotFound or Unavailable."""

    def remove(self, name: str) -> None:
        """Forget a file; it may be gone already. Raises Unavailable."""

    def older_than(self, age: timedelta) -> Iterator[str]:
        """The names of files that old. Raises Unavailable."""


def away(verb: str, error: Exception) -> Unavailable:
    """What a caller is told of a store that fails; the log has the reason."""
    log.error("media_store_trouble", verb=verb, error=type(error).__name__, reason=str(error)[:200])
    return Unavailable(AWAY)
