"""Tells a server that is alive from what a dead one has left behind.

PostgreSQL refuses to start when its pid file names any living process of the same user. After a crash, a
restart of the machine or of a container that number soon belongs to somebody else, so the file alone proves
nothing.
"""

import contextlib
import subprocess
from pathlib import Path

PROC = Path("/proc")


def server_process(data: Path) -> int | None:
    """The number of the living server of this data folder; None when there is none."""
    pid = _first_number(data / "postmaster.pid")
    return pid if pid and _serves(pid, data) else None


def server_port(data: Path) -> int | None:
    """The port (the number in the socket's name) of the server that wrote the pid file."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int((data / "postmaster.pid").read_text().splitlines()[3])
    return None


def remove_leftovers(data: Path, sockets: Path, port: int) -> None:
    """Remove a dead server's pid file and its socket's lock file; only while nobody else can start one."""
    for leftover in (data / "postmaster.pid", sockets / f".s.PGSQL.{port}.lock"):
        pid = _first_number(leftover)
        if pid is None or not _serves(pid, data):
            leftover.unlink(missing_ok=True)


def _first_number(file: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return abs(int(file.read_text().split()[0]))  # negative for a single-user server
    return None


def _serves(pid: int, data: Path) -> bool:
    """Whether this process is a server of this folder: by its working folder, or by its command line.

    In containers root may not look at the working folder of another user's process, but at its command line.
    """
    if not (PROC / "self" / "cmdline").exists():
        return _names_folder(_arguments_from_ps(pid), data)
    with contextlib.suppress(OSError):
        if (PROC / str(pid) / "cwd").samefile(data):
            return True
    with contextlib.suppress(OSError):
        return _names_folder((PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace"), data)
    return False


def _arguments_from_ps(pid: int) -> str:
    asked = ["ps", "-o", "args=", "-p", str(pid)]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout


def _names_folder(command_line: str, data: Path) -> bool:
    return f" -D {data} " in f"{command_line.replace(chr(0), ' ')} "
