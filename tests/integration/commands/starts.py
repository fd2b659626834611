"""`flask start` as its users have it: a process of its own, with a database of its own in a folder of its own."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.integration.localdb.servers import until
from tests.processes import held

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 60


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, nor on the next five."""
    while True:
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            first = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            port: int = first.getsockname()[1]
            for number in range(port + 1, port + 6):
                held.enter_context(socket.create_server(("127.0.0.1", number)))
            return port


def clean_variables(folder: Path, **more: str) -> dict[str, str]:
    """An environment without anything that whoever runs the tests may have set."""
    kept = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_CONFIG")
        if name in os.environ
    }
    return {**kept, "APP_DATA_DIR": str(folder / "data"), "FLASK_SKIP_DOTENV": "1", **more}


class Start:
    """A running start: what it said, its processes, its end."""

    def __init__(
        self,
        folder: Path,
        *words: str,
        program: tuple[str, ...] = ("-m", "flask", "start"),
        variables: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / f"start-{len(list(folder.glob('start-*')))}.log"
        with self.log.open("wb") as log:
            self.process = held(
                subprocess.Popen(
                    [sys.executable, *program, *words],
                    cwd=ROOT,
                    env=clean_variables(folder, **(variables or {})),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    @property
    def said(self) -> str:
        """All that it wrote."""
        return self.log.read_text()

    @property
    def site(self) -> str:
        """The address in its box."""
        return str(re.findall(r"Site +(\S+)", self.said)[0])

    def up(self) -> "Start":
        """Wait until the box is there."""
        until(
            lambda: "Ctrl-C stops" in self.said or self.process.poll() is not None, seconds=PATIENCE_SECONDS
        )
        assert "Ctrl-C stops" in self.said, self.said
        return self

    def get(self, path: str) -> bytes:
        """The body of a page, as a browser that keeps cookies gets it."""
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(self.site + path, timeout=20) as answer:
            body: bytes = answer.read()
        return body

    def children(self) -> list[int]:
        """The processes it started."""
        pid = self.process.pid
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in found]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        """End it if it still runs; its children and its database then end by themselves."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def run(folder: Path, *words: str, typed: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program of the project to its end; `typed` is what it reads."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=clean_variables(folder, **more),
        input=typed,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
