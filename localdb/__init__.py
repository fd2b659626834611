"""PostgreSQL without set-up, for development and tests.

The server is started with the first process that wants it and stopped with the last one. Nothing in
blueprints, services or models knows of this package, and it knows nothing of them.

Environment variables: APP_PG_BIN (folder of initdb and postgres), APP_DATA_DIR (data folder; the tests' gets
"-test" added), APP_PG_USER (who runs the server when we are root), APP_PG_PORT (also listen on this port of
127.0.0.1, with a password).
"""

import os
from pathlib import Path

from localdb import private
from localdb.cluster import THROWAWAY, Cluster
from localdb.errors import LocalDatabaseError

__all__ = ["Cluster", "LocalDatabaseError", "development_cluster", "development_url", "testing_cluster"]

DATABASE = "app"
_held: dict[Path, Cluster] = {}


def development_url(project_root: Path) -> str:
    """SQLAlchemy's URL of the development database, whose server runs for as long as this process lives.

    Makes and starts what is missing; calling it again is cheap and revives a server that died. Raises
    LocalDatabaseError, whose message is meant for people: commands print it without a traceback.
    """
    data = _data_folder(project_root)
    cluster = _held.get(data) or development_cluster(project_root)
    cluster.acquire()
    _held[data] = cluster
    cluster.ensure_database(DATABASE)
    return cluster.url(DATABASE)


def development_cluster(project_root: Path) -> Cluster:
    """The development server, not yet held: instance/postgres in the project, or APP_DATA_DIR."""
    return Cluster(_data_folder(project_root), tcp_port=_chosen_port())


def testing_cluster(project_root: Path) -> Cluster:
    """The tests' server, not yet held: a second one, fast and careless, kept between runs."""
    data = _data_folder(project_root)
    return Cluster(data.with_name(f"{data.name}-test"), settings=THROWAWAY)


def _data_folder(project_root: Path) -> Path:
    chosen = os.environ.get("APP_DATA_DIR")
    if chosen:
        return Path(chosen)
    private.close_folder(project_root / "instance")
    return project_root / "instance" / "postgres"


def _chosen_port() -> int | None:
    chosen = os.environ.get("APP_PG_PORT")
    if not chosen:
        return None
    if not chosen.isdecimal() or not 0 < int(chosen) < 65536:
        raise LocalDatabaseError(
            f"APP_PG_PORT is {chosen}, which is not a port: use 1 to 65535, or unset it."
        )
    return int(chosen)
