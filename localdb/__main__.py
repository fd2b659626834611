"""Commands for people: python -m localdb status | reset --yes."""

import argparse
import shutil
import sys
from pathlib import Path

from localdb import Cluster, LocalDatabaseError, development_cluster, locks

PROJECT_ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run one command; answer its exit status."""
    parser = argparse.ArgumentParser(prog="python -m localdb", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="say where the development data are and whether their server runs")
    reset = commands.add_parser("reset", help="remove the development data")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    asked = parser.parse_args()
    try:
        cluster = development_cluster(PROJECT_ROOT)
        return _status(cluster) if asked.command == "status" else _reset(cluster, sure=asked.yes)
    except LocalDatabaseError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _status(cluster: Cluster) -> int:
    running = cluster.is_running()
    print(f"data    {cluster.places.data}\nserver  {'runs' if running else 'stopped'}")
    if running:
        print(f"url     {cluster.url('app')}")
    if running and (tcp_url := cluster.tcp_url("app")):
        print(f"tcp     {tcp_url}")
    return 0


def _reset(cluster: Cluster, *, sure: bool) -> int:
    data = cluster.places.data
    if not data.exists():
        print("There are no development data.")
        return 0
    if not sure and not _confirmed(data):
        sys.stderr.write("Nothing was removed. Without a terminal, say ./run reset --yes.\n")
        return 1
    remove(cluster)
    print(f"Removed {data}; the next start makes new data.")
    return 0


def remove(cluster: Cluster) -> None:
    """Remove a cluster's data. Raises LocalDatabaseError while anybody uses it."""
    places = cluster.places
    try:
        with locks.exclusive(places.users_lock, timeout_seconds=1):  # it may be about to stop
            shutil.rmtree(places.data)
            for file in (places.password, places.log):
                file.unlink(missing_ok=True)
    except locks.LockTimeout:
        raise LocalDatabaseError(
            "The development database is in use: stop ./run and other programs first."
        ) from None


def _confirmed(data: Path) -> bool:
    return (
        sys.stdin.isatty() and input(f"Remove all development data in {data}? [y/N] ").strip().lower() == "y"
    )


if __name__ == "__main__":
    sys.exit(main())
