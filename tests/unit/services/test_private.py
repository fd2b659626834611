"""What the product writes to disk is nobody else's to read, whatever the umask, and whichever version made it."""

import io
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueprints.http.logs import FileLines, _handlers
from services.media_stores.folder import Folder
from services.settings.making import make_secrets

PICTURE = f"{'a' * 32}-64.webp"


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct, autouse=True)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever the account's is."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(*paths: Path) -> list[str]:
    return [oct(stat.S_IMODE(path.stat().st_mode)) for path in paths]


def write_a_line(folder: Path) -> None:
    for handler in _handlers(io.StringIO(), str(folder)):
        if isinstance(handler, FileLines):
            handler.emit(logging.LogRecord("x", logging.ERROR, "", 0, "line", None, None))
            handler.doRollover()
        handler.close()


def test_pictures_are_closed_to_others(tmp_path: Path) -> None:
    Folder(tmp_path / "media").save(PICTURE, b"x")
    assert modes(tmp_path / "media", tmp_path / "media" / PICTURE) == ["0o700", "0o600"]


def test_logs_are_closed_to_others_also_once_rotated(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    write_a_line(folder)
    assert modes(folder) == ["0o700"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "error.log",
        "error.log.1",
        "flask_app.log",
        "flask_app.log.1",
    ]
    assert set(modes(*folder.iterdir())) == {"0o600"}


def test_secrets_of_development_are_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "instance" / "development.env"
    make_secrets(path)
    assert modes(path, path.parent) == ["0o600", "0o700" if os.geteuid() else "0o711"]
    path.chmod(0o644)
    make_secrets(path)
    assert modes(path) == ["0o600"]


def test_what_an_older_version_made_is_closed_at_the_next_start(tmp_path: Path) -> None:
    media, logs = tmp_path / "media", tmp_path / "logs"
    there = [media / PICTURE, media / f".{PICTURE}.0123abcd", logs / "error.log", logs / "flask_app.log.3"]
    for path in there:
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        path.chmod(0o644)
    for folder in (media, logs):
        folder.chmod(0o755)
    Folder(media)
    write_a_line(logs)
    assert set(modes(*media.iterdir(), *logs.iterdir())) == {"0o600"}
    assert modes(media, logs) == ["0o700", "0o700"]


def test_a_folder_with_other_things_in_it_stays_open_and_they_too(tmp_path: Path) -> None:
    """Somebody may have set LOG_DIR=/var/log."""
    other, ours = tmp_path / "syslog", tmp_path / "error.log"
    for path in (other, ours):
        path.write_text("x")
        path.chmod(0o644)
    tmp_path.chmod(0o755)
    write_a_line(tmp_path)
    assert modes(tmp_path, other, ours) == ["0o755", "0o644", "0o600"]


def test_a_link_in_a_folder_of_ours_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("x")
    elsewhere.chmod(0o644)
    media = tmp_path / "media"
    media.mkdir()
    media.chmod(0o755)
    (media / PICTURE).symlink_to(elsewhere)
    Folder(media)
    assert modes(elsewhere) == ["0o644"]
