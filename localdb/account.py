"""Who runs PostgreSQL: whoever we are, or, because it refuses to run as root, an unprivileged account."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from localdb.errors import LocalDatabaseError


@dataclass(frozen=True)
class Account:
    """An account of this machine, by number: a folder's owner need not have a name."""

    uid: int
    gid: int

    def can_reach(self, path: Path) -> bool:
        """Whether this account may walk to this path. Group membership is not counted."""
        real = path.resolve()
        return all(self._may_enter(step.stat()) for step in (real, *real.parents))

    def own(self, path: Path) -> None:
        """Give this path, which we have made ourselves, to the account."""
        os.chown(path, self.uid, self.gid)

    def _may_enter(self, state: os.stat_result) -> bool:
        needed = stat.S_IXUSR if state.st_uid == self.uid else stat.S_IXOTH
        return bool(state.st_mode & needed)


def server_account(data: Path) -> Account | None:
    """The account to run this data folder's server as; None means ours, because we are not root.

    Existing data stays with its owner, so that `sudo ./run` in a person's checkout spoils nothing.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (state := data.stat()).st_uid != 0:
        return Account(state.st_uid, state.st_gid)
    return _named_account()


def _named_account() -> Account:
    if chosen := os.environ.get("APP_PG_USER"):
        return _account(chosen)
    for name in ("postgres", "nobody"):
        try:
            return _account(name)
        except LocalDatabaseError:
            continue
    raise LocalDatabaseError(
        "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody: set APP_PG_USER."
    )


def _account(name: str) -> Account:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise LocalDatabaseError(
            f"There is no user {name} on this machine: set APP_PG_USER to one."
        ) from None
    if entry.pw_uid == 0:
        raise LocalDatabaseError(
            "PostgreSQL refuses to run as root: set APP_PG_USER to an unprivileged user."
        )
    return Account(entry.pw_uid, entry.pw_gid)
