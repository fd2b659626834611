"""Files and folders that are nobody else's to read, whatever the umask and whichever version made them."""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

#: Another account runs root's server and must get to its data: it may walk through, and see nothing on its way.
FOLDER, FOLDER_OF_ROOT, FILE = 0o700, 0o711, 0o600


@contextmanager
def appended(path: Path) -> Iterator[BinaryIO]:
    """The file, to add to; a symbolic link in its place is refused, since root may be the one who follows it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, FILE)
    with os.fdopen(descriptor, "ab") as file:
        yield file


def close_files(paths: Iterable[Path]) -> None:
    """Take away what others may do with these files; those that are not there, or not ours, are left."""
    for path in paths:
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fchmod(descriptor, FILE)
            finally:
                os.close(descriptor)


def close_folder(path: Path) -> None:
    """Make this folder of ours, or take away what others may do in it."""
    widest = FOLDER if os.geteuid() else FOLDER_OF_ROOT
    with contextlib.suppress(OSError):  # a read-only checkout: what needs a file there will say so
        try:
            path.mkdir(mode=widest)
            path.chmod(widest)
        except FileExistsError:
            path.chmod(stat.S_IMODE(path.stat().st_mode) & widest)
