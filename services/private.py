"""Files and folders that nobody else of this machine may read, whatever the umask (ASVS 14.2.4).

What an older version made is closed at the next start.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

FILE, FOLDER = 0o600, 0o700
OTHERS = 0o077


def opener(path: str, flags: int) -> int:
    """For `open(…, opener=opener)`: a file that only its owner may read, be it new or old."""
    descriptor = os.open(path, flags, FILE)
    with suppress(OSError):  # somebody else's file, which we may write to
        if os.fstat(descriptor).st_mode & OTHERS:
            os.fchmod(descriptor, FILE)
    return descriptor


def make_folder(path: Path, mode: int = FOLDER) -> None:
    """Make this folder and those above it; one that is there stays as it is."""
    with suppress(FileExistsError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
        path.chmod(mode)


def close_folder(path: Path, ours: re.Pattern[str]) -> None:
    """Close the files of this folder whose names are `ours`, and the folder itself if it holds nothing else.

    A folder that is closed already is not looked into: it may hold many files.
    """
    with suppress(OSError):  # not there, or somebody else's
        if not path.stat().st_mode & OTHERS:
            return
        inside = list(os.scandir(path))
        mine = [
            entry for entry in inside if ours.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
        ]
        for entry in mine:
            Path(entry).chmod(FILE)
        if len(mine) == len(inside):
            path.chmod(FOLDER)
