"""Locks that the kernel keeps."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from localdb import LocalDatabaseError, locks

pytestmark = pytest.mark.unit


def test_shared_locks_go_together_and_keep_the_exclusive_one_out(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    first, second = locks.shared(file, timeout_seconds=0), locks.shared(file, timeout_seconds=0)
    with pytest.raises(locks.LockTimeout, match="for too long"), locks.exclusive(file, timeout_seconds=0):
        pass
    os.close(first)
    os.close(second)
    with locks.exclusive(file, timeout_seconds=0), pytest.raises(locks.LockTimeout):
        locks.shared(file, timeout_seconds=0.05)


def test_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(LocalDatabaseError, match=r"network folders\. Set APP_DATA_DIR"):
        locks.shared(tmp_path / "lock", timeout_seconds=0)


def test_file_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalDatabaseError, match="Set APP_DATA_DIR"):
        locks.shared(tmp_path / "missing" / "lock", timeout_seconds=0)
