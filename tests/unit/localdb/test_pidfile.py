"""What a pid file proves, and what it does not."""

import os
from pathlib import Path

import pytest

from localdb import pidfile

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("content", ["", "no number\n", "99999999\n", "{our_own_number}\n"])
def test_no_server_is_seen_where_none_is(tmp_path: Path, content: str) -> None:
    (tmp_path / "postmaster.pid").write_text(content.format(our_own_number=os.getpid()))
    assert pidfile.server_process(tmp_path) is None
    pidfile.remove_leftovers(tmp_path, tmp_path, 5432)
    assert not (tmp_path / "postmaster.pid").exists()


def test_process_is_known_by_its_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n")
    monkeypatch.chdir(tmp_path)
    assert pidfile.server_process(tmp_path) == os.getpid()
    pidfile.remove_leftovers(tmp_path, tmp_path, 5432)
    assert (tmp_path / "postmaster.pid").exists()


def test_process_is_known_by_its_command_line_where_its_folder_is_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "postmaster.pid").write_text("42\n")
    (tmp_path / "42").mkdir()
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cmdline").touch()
    (tmp_path / "42" / "cmdline").write_bytes(f"/bin/postgres\0-D\0{data}\0--port=5432\0".encode())
    monkeypatch.setattr(pidfile, "PROC", tmp_path)
    assert pidfile.server_process(data) == 42
    (tmp_path / "42" / "cmdline").write_bytes(f"/bin/postgres\0-D\0{data}-test\0".encode())
    assert pidfile.server_process(data) is None


def test_without_a_proc_folder_ps_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pidfile, "PROC", tmp_path)
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert pidfile.server_process(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "port"), [("1\n/data\n17\n5544\n", 5544), ("1\n", None), ("1\n2\n3\nx\n", None)]
)
def test_port_is_read(tmp_path: Path, content: str, port: int | None) -> None:
    (tmp_path / "postmaster.pid").write_text(content)
    assert pidfile.server_port(tmp_path) == port
