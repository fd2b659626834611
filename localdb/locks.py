"""Locks on files, held by the kernel for as long as the process lives."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localdb.errors import LocalDatabaseError
from localdb.places import explained

PAUSE_SECONDS = 0.02


def shared(path: Path, *, timeout_seconds: float) -> int:
    """An open descriptor with a shared lock on this file."""
    return _lock(path, fcntl.LOCK_SH, timeout_seconds)


@contextmanager
def exclusive(path: Path, *, timeout_seconds: float) -> Iterator[None]:
    """The exclusive lock on this file while the block runs; a timeout of 0 tries once."""
    descriptor = _lock(path, fcntl.LOCK_EX, timeout_seconds)
    try:
        yield
    finally:
        os.close(descriptor)


class LockTimeout(LocalDatabaseError):
    """Somebody else held the lock all the time."""


def _lock(path: Path, kind: int, timeout_seconds: float) -> int:
    with explained(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _wait(descriptor, kind, path, time.monotonic() + timeout_seconds)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _wait(descriptor: int, kind: int, path: Path, deadline: float) -> None:
    while not _granted(descriptor, kind, path):
        if time.monotonic() >= deadline:
            raise LockTimeout(
                f"Another process holds {path} for too long (is it stopping or starting the database?)."
            )
        time.sleep(PAUSE_SECONDS)


def _granted(descriptor: int, kind: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise LocalDatabaseError(
            f"Files in {path.parent} can't be locked ({error.strerror}), as on most network folders. "
            "Set APP_DATA_DIR to a folder on a local disk."
        ) from error
    return True
