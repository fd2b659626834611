"""Settings without a variable set, and with those that production takes."""

import os
from pathlib import Path

import pytest

import config
from config import Config
from tests.unit.settings.settings import GOOD


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.removesuffix("_FILE") in Config.model_fields:
            monkeypatch.delenv(name)
    monkeypatch.setattr(config, "DOTENV", tmp_path / ".env")
    monkeypatch.setattr(config, "MADE", tmp_path / "instance" / "development.env")


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch
