"""Runs one PostgreSQL server as its child and stops it when its last user is gone, however that one went.

    python -I -S supervisor.py USERS_LOCK UID GID SOCKET_FOLDER postgres ...

Every user holds a shared lock on USERS_LOCK; this process waits for the exclusive one, which the kernel
grants when no user is left, `kill -9` included. It keeps that lock until the server has ended, so that a
newcomer waits and then starts a new one. UID and GID are "-" to stay who we are, SOCKET_FOLDER is "-" when
none is to be removed afterwards.

Started as a script without site packages: the standard library alone, and nothing else of this package.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
PATIENCE_SECONDS = 30


def main(users_lock: str, uid: str, gid: str, socket_folder: str, *command: str) -> int:
    """Run the command until it ends or its last user is gone; answer its exit status."""
    _leave_the_starter()
    descriptor = os.open(users_lock, os.O_RDWR)
    if uid != "-":
        _become(int(uid), int(gid))
    server = subprocess.Popen(command, cwd="/", preexec_fn=_dies_with_parent())  # noqa: PLW1509  # one thread
    _stop_when_asked(server)
    threading.Thread(target=_stop_after_last_user, args=(descriptor, server), daemon=True).start()
    status = server.wait()
    if socket_folder != "-":
        with contextlib.suppress(OSError):
            Path(socket_folder).rmdir()
    return status


def _leave_the_starter() -> None:
    """Be nobody's child: a terminal's Ctrl-C does not reach us, and whoever started us is left no zombie."""
    if os.fork():
        os._exit(0)
    os.setsid()


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _dies_with_parent() -> Callable[[], None] | None:
    """On Linux: if this process is killed, the server gets a fast shutdown from the kernel.

    Elsewhere an orphaned server lives on, and the next start takes it over.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask_the_kernel() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:
            os._exit(1)

    return ask_the_kernel


def _stop_when_asked(server: subprocess.Popen[bytes]) -> None:
    def fast_shutdown(number: int, frame: FrameType | None) -> None:
        del number, frame
        server.send_signal(signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, fast_shutdown)


def _stop_after_last_user(descriptor: int, server: subprocess.Popen[bytes]) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    server.send_signal(signal.SIGINT)
    _wake(server.pid)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(PATIENCE_SECONDS)
        return
    server.send_signal(signal.SIGQUIT)  # immediate shutdown: the next start recovers from the log


def _wake(server: int) -> None:
    """Let a server go on that somebody has halted: while it is, it heeds no signal but the one that spoils data."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        children += map(int, Path(f"/proc/{server}/task/{server}/children").read_text().split())
    for pid in (*children, server):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    # Not sys.exit: the waiting thread must not delay the end, and the lock is to go with the process.
    os._exit(0 if main(*sys.argv[1:]) == 0 else 1)
