"""Where pictures go in the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from services.media_stores.folder import Folder


@pytest.fixture
def folder(app: Flask, tmp_path: Path) -> Iterator[Path]:
    """A folder of the test's own, in use; not there yet."""
    kept = app.extensions["media_store"]
    app.extensions["media_store"] = Folder(tmp_path / "media")
    yield tmp_path / "media"
    app.extensions["media_store"] = kept
