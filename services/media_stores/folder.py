"""Pictures in a folder of this machine, shared by web and worker."""

import os
import re
import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from models.base import now
from services import private
from services.errors import NotFound
from services.media_stores import FILE, away

#: Its files, and drafts that a crash left behind.
OURS = re.compile(rf"\.?{FILE.pattern}(\.[0-9a-f]{{8}})?", re.ASCII)


class Folder:
    """Files by name in `path`, which is made with the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        private.close_folder(path, OURS)

    @property
    def place(self) -> str:
        """Its path."""
        return f"the folder {self.path}"

    def save(self, name: str, content: bytes) -> None:
        """Written beside and then moved: nobody ever reads half a file."""
        draft = self.path / f".{name}.{secrets.token_hex(4)}"
        try:
            private.make_folder(self.path)
            try:
                draft.touch(mode=private.FILE)
                draft.write_bytes(content)
                draft.replace(self.path / name)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise away("save", error) from error

    def read(self, name: str) -> bytes:
        """The file's bytes."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            raise NotFound from None
        except OSError as error:
            raise away("read", error) from error

    def remove(self, name: str) -> None:
        """Unlink it."""
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise away("remove", error) from error

    def older_than(self, age: timedelta) -> Iterator[str]:
        """By the time they were written."""
        limit = (now() - age).timestamp()
        try:
            for entry in os.scandir(self.path):
                if FILE.fullmatch(entry.name) and entry.stat().st_mtime < limit:
                    yield entry.name
        except FileNotFoundError:
            return
        except OSError as error:
            raise away("list", error) from error
