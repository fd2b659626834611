"""Makes a new data folder, or checks that an old one fits the programs."""

import os
import shutil
import subprocess
from pathlib import Path

from localdb import binaries
from localdb.account import Account
from localdb.errors import LocalDatabaseError
from localdb.places import Places, explained


def prepare(places: Places, programs: Path, *, sync: bool) -> None:
    """Make the data folder unless it is there; only under the start lock.

    Raises LocalDatabaseError when it was made by another major version: data is never upgraded on the quiet.
    """
    if (places.data / "PG_VERSION").exists():
        _check_version(places.data, programs)
        return
    if places.data.exists() and any(places.data.iterdir()):
        raise LocalDatabaseError(
            f"{places.data} is neither empty nor a PostgreSQL data folder: set APP_DATA_DIR."
        )
    _remove_unfinished(places.data)
    with explained(places.data):
        _make(places, programs, sync=sync)


def environment() -> dict[str, str]:
    """Our environment without what would change the server's language, place or order."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PG"))}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _make(places: Places, programs: Path, *, sync: bool) -> None:
    """Initialise a folder beside the real one and rename it: an interrupted run leaves no half cluster."""
    unfinished = places.data.with_name(f"{places.data.name}.init{os.getpid()}")
    unfinished.mkdir(mode=0o700)
    if places.account:
        places.account.own(unfinished)
    try:
        _run_initdb(unfinished, programs, places.account, sync=sync)
        unfinished.rename(places.data)
        places.password.unlink(missing_ok=True)  # it was of data that are gone
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _run_initdb(data: Path, programs: Path, account: Account | None, *, sync: bool) -> None:
    command: list[str | Path] = [programs / "initdb", "-D", data, "--username=postgres", "--encoding=UTF8"]
    command += ["--auth-local=trust", "--auth-host=scram-sha-256", *_locale(programs)]
    command += [] if sync else ["--no-sync"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd="/",
        env=environment(),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    if done.returncode:
        raise LocalDatabaseError(f"PostgreSQL's data folder could not be made: {done.stderr.strip()}")


def _locale(programs: Path) -> list[str]:
    """The same order and case rules on every system: by code point, with Unicode's upper and lower case."""
    if binaries.major(binaries.version(programs)) >= 17:
        return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return ["--locale=C.UTF-8"]


def _check_version(data: Path, programs: Path) -> None:
    had = (data / "PG_VERSION").read_text().strip()
    have = binaries.major(binaries.version(programs))
    if had != str(have):
        raise LocalDatabaseError(
            f"{data} was made by PostgreSQL {had}, and the programs found are of version {have}. "
            f"Set APP_PG_BIN to the programs of version {had} (and move the data with pg_dump), "
            "or start from nothing with ./run reset --yes."
        )


def _remove_unfinished(data: Path) -> None:
    for folder in data.parent.glob(f"{data.name}.init*"):
        shutil.rmtree(folder, ignore_errors=True)
