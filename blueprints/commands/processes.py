"""Child processes that end with their parent, however that one ends.

Each child inherits the reading end of a pipe whose writing end only the parent has. The kernel closes that one with
the parent, `kill -9` included: the child reads the end of the pipe and stops itself.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

LIFELINE = "PORTICO_LIFELINE"
PATIENCE_SECONDS = 10.0
PAUSE_SECONDS = 0.1


class Children:
    """Programs that run beside us, started, watched and stopped together."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._folder = folder
        self._reading_end, self._writing_end = os.pipe()
        self._environment = {**os.environ, **variables, LIFELINE: str(self._reading_end)}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *words: str, keep: tuple[int, ...] = ()) -> None:
        """Start `flask WORDS` as `name`; it inherits the descriptors in `keep`.

        In a session of its own: a Ctrl-C in the terminal reaches us alone, and we stop the others in order.
        """
        self._running[name] = subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "app", *words],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            pass_fds=(self._reading_end, *keep),
            start_new_session=True,
        )

    def ended(self) -> tuple[str, int] | None:
        """The first child that is no longer there, with its exit status; None while all run."""
        for name, process in self._running.items():
            if process.poll() is not None:
                return name, process.returncode
        return None

    def stop(self) -> None:
        """Ask every child to stop, wait for them, and end those that don't. Interrupted, it ends them at once."""
        try:
            self._signal(signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while self._alive() and time.monotonic() < deadline:
                time.sleep(PAUSE_SECONDS / 2)
        finally:
            self._signal(signal.SIGKILL)
            for process in self._running.values():
                process.wait()
            self._running.clear()

    def close(self) -> None:
        """Stop every child and let go of the pipe."""
        self.stop()
        os.close(self._reading_end)
        os.close(self._writing_end)

    def _alive(self) -> bool:
        return any(process.poll() is None for process in self._running.values())

    def _signal(self, number: signal.Signals) -> None:
        for process in self._running.values():
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)


def end_with_parent() -> None:
    """In a child: stop (SIGTERM, then for good) as soon as the parent is gone. Does nothing in other processes."""
    if lifeline := os.environ.pop(LIFELINE, None):
        threading.Thread(target=_await_the_end, args=(int(lifeline),), daemon=True).start()


def _await_the_end(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE_SECONDS)
    os._exit(1)
