"""flask doctor looks at where pictures are kept, by keeping one."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from services.media_stores.folder import Folder
from tests.integration.commands.conftest import Run

pytestmark = pytest.mark.integration


def pictures(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = {row["name"]: row for row in json.loads(run("doctor", "--json").stdout)}
    return dict(found["pictures"])


@pytest.fixture
def folder(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pictures go in this test; not there yet."""
    monkeypatch.setitem(app.extensions, "media_store", Folder(tmp_path / "media"))
    return tmp_path / "media"


def test_a_folder_that_can_be_written_passes_and_stays_empty(run: Run, folder: Path) -> None:
    assert pictures(run)["status"] == "pass"
    assert str(folder) in pictures(run)["detail"]
    assert list(folder.iterdir()) == []


def test_a_folder_that_can_not_be_made_is_told_with_its_remedy(run: Run, folder: Path) -> None:
    folder.write_text("a file in its place")
    assert pictures(run)["status"] == "fail"
    assert "MEDIA_DIR" in pictures(run)["remedy"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_told(run: Run, folder: Path) -> None:
    folder.mkdir(mode=0o500)
    assert pictures(run)["status"] == "fail"


def test_a_store_that_gives_back_something_else_is_told(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Folder, "read", lambda self, name: b"something else")
    assert pictures(run)["status"] == "fail"
    assert list(folder.iterdir()) == []
