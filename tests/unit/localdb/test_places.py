"""Where a cluster's files go."""

from pathlib import Path

import pytest

from localdb.account import Account
from localdb.places import LONGEST_SOCKET_FOLDER, Places

pytestmark = pytest.mark.unit


def test_files_stand_beside_the_data() -> None:
    places = Places(Path("/srv/app/postgres"), None)
    beside = (places.users_lock, places.start_lock, places.log, places.password)
    assert [path.name for path in beside] == [
        "postgres.users",
        "postgres.start",
        "postgres.log",
        "postgres.password",
    ]
    assert {path.parent for path in beside} == {Path("/srv/app")}


@pytest.mark.parametrize(
    ("path", "own_folder"),
    [
        ("/srv/app/postgres", False),
        ("/" + "d" * (LONGEST_SOCKET_FOLDER - 1), False),
        ("/" + "d" * LONGEST_SOCKET_FOLDER, True),
        ("/srv/my app", True),
        ("/srv/a,b", True),
        ("/srv/größe", True),
    ],
)
def test_socket_goes_to_a_short_folder_when_the_path_is_long_or_odd(path: str, own_folder: bool) -> None:
    places = Places(Path(path), None)
    assert (places.sockets != places.data) == own_folder
    assert len(str(places.sockets)) <= LONGEST_SOCKET_FOLDER


def test_two_clusters_never_share_a_short_folder() -> None:
    assert Places(Path("/srv/my app"), None).sockets != Places(Path("/srv/my app 2"), None).sockets


def test_account_reaches_what_is_open_and_what_is_its_own(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    owner = tmp_path.stat()
    assert Account(owner.st_uid, owner.st_gid).can_reach(tmp_path)
    assert not Account(owner.st_uid + 12345, owner.st_gid).can_reach(tmp_path)
