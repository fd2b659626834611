"""Processes that tests start end with the process that started them, however that one ends.

`held(subprocess.Popen(…))` tells a process beside us of each. It waits for our end of a pipe to be closed, by the
kernel if need be, and kills what is left: the process and, where it leads a session of its own, its whole group.
Beside us and not above, so that the numbers that tests send signals to are those of the servers themselves.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

Started = TypeVar("Started", bound="subprocess.Popen[Any]")
_beside_us: list["subprocess.Popen[str]"] = []


def held(process: Started) -> Started:
    """The same process, which will not outlive this one."""
    if not _beside_us:
        _beside_us.append(
            subprocess.Popen(
                [sys.executable, "-I", "-S", __file__],
                stdin=subprocess.PIPE,
                cwd="/",
                text=True,
                start_new_session=True,  # a terminal's Ctrl-C is for us
            )
        )
    pipe = _beside_us[0].stdin
    assert pipe is not None
    pipe.write(f"{process.pid}\n")
    pipe.flush()
    return process


def main() -> None:
    """Note what is told, and kill what is left of it once nobody can tell more."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    told = [(pid, _started_at(pid)) for pid in map(int, sys.stdin)]
    for pid, moment in told:
        if _started_at(pid) in (moment, None):  # else the number is somebody else's by now
            _kill(pid)


def _kill(pid: int) -> None:
    """The whole group that it leads, also if it is gone itself; where it leads none, the process alone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
        return
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _started_at(pid: int) -> str | None:
    """When the process with this number was started, in the kernel's ticks; None when there is none, or no /proc."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return None


if __name__ == "__main__":
    main()
