"""Real gunicorn and real nginx, started and surely stopped, for the tests of this folder."""

import contextlib
import getpass
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.processes import held

ROOT = Path(__file__).resolve().parents[3]
HOST = "portico.test"
# Bytecode is told apart by seconds and size, which a test's change of code may leave as they were.
# The echo app, which lies elsewhere, borrows from the project; USR2 starts it from its own folder.
QUICK = {"GUNICORN_WORKERS": "2", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until(is_so: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Wait until it is so; fails with `what` after some seconds."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes] | None:
    """Status and body of a GET on a connection of its own; None when nobody answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return None
    finally:
        connection.close()


class Gunicorn:
    """`gunicorn MODULE:application` with the project's gunicorn.conf.py, two workers, in a folder."""

    def __init__(
        self,
        folder: Path,
        module: str,
        log: Path,
        *,
        port: int | None = None,
        under: Sequence[str] = (),  # a program that runs another one, with its options
        **variables: Any,
    ) -> None:
        self.port = port or free_port()
        self.log = log
        kept = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG")
            if name in os.environ
        }
        with log.open("ab") as output:
            self.process = held(
                subprocess.Popen(
                    [
                        *under,
                        str(
                            Path(sys.executable).with_name("gunicorn")
                        ),  # USR2 starts what stands here once more
                        *("--chdir", str(folder)),
                        *("--config", str(ROOT / "gunicorn.conf.py")),
                        f"{module}:application",
                    ],
                    env={**kept, **QUICK, "PORT": str(self.port), **variables},
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            )
        try:
            until(lambda: self.get("/health") is not None, seconds=40, what=f"an answer; see {log}")
        except AssertionError:
            self.kill()
            raise AssertionError(log.read_text(encoding="utf-8") if log.is_file() else log) from None

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes] | None:
        """Status and body of a GET; None when nobody answers."""
        return get(self.port, path, headers)

    def workers(self) -> set[int]:
        """Process ids of the master's children."""
        pid = self.process.pid
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def tell(self, name: signal.Signals) -> None:
        """Send the master a signal."""
        self.process.send_signal(name)

    def stop(self) -> int:
        """SIGTERM, then the exit code; fails after 35 s."""
        self.tell(signal.SIGTERM)
        return self.process.wait(timeout=35)

    def kill(self) -> None:
        """End everything that was started, successors too, whatever state it is in."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)


class Nginx:
    """nginx with deploy/nginx, on free ports, with a certificate of its own, in front of `upstream`.

    `more` are directives of an operator's own file in conf.d/.
    """

    def __init__(self, folder: Path, upstream: str, *, more: str = "") -> None:
        self.folder = folder
        for part in ("conf.d", "cache", "portico"):
            (folder / part).mkdir()
        (folder / "conf.d/more.conf").write_text(more)
        for tries_left in (2, 1, 0):
            self.http_port, self.https_port = free_port(), free_port()
            self._configure(upstream)
            self.check()
            self.process = self._start()
            until(
                lambda: self.process.poll() is not None or get(self.http_port, "/") is not None,
                seconds=20,
                what="nginx listens",
            )
            if self.process.poll() is None:
                break
            # Else somebody was quicker to take one of the ports.
            assert tries_left, (folder / "said").read_text()

    def check(self) -> None:
        """Have nginx test its configuration; fails with what it says."""
        tested = subprocess.run(
            [*self._command(), "-t"], capture_output=True, text=True, timeout=60, check=False
        )
        assert tested.returncode == 0, tested.stderr

    def stop(self) -> None:
        """End it, and wait until it has."""
        self.process.terminate()
        self.process.wait(timeout=10)

    def workers(self) -> list[int]:
        """Process ids of those who serve."""
        pid = (self.folder / "pid").read_text().strip()
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def trust(self) -> ssl.SSLContext:
        """A client's TLS context that trusts this nginx and nobody else."""
        return ssl.create_default_context(cafile=str(self.folder / "fullchain.pem"))

    def connect(self, *, source: str = "127.0.0.1") -> ssl.SSLSocket:
        """A TLS connection, from some address of this machine."""
        plain = socket.create_connection(
            ("127.0.0.1", self.https_port), timeout=20, source_address=(source, 0)
        )
        return self.trust().wrap_socket(plain, server_hostname=HOST)

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "said").open("wb") as said:
            return held(subprocess.Popen(self._command(), stdout=said, stderr=said, start_new_session=True))

    def _command(self) -> list[str]:
        return [NGINX, "-c", str(self.folder / "nginx.conf"), "-g", f"daemon off; pid {self.folder}/pid;"]

    def _configure(self, upstream: str) -> None:
        make_secrets = ["sh", str(ROOT / "deploy/make-secrets.sh"), HOST, str(self.folder)]
        subprocess.run(make_secrets, check=True, capture_output=True, timeout=60)
        given = {
            "HOST": HOST,
            "SITE": f"{HOST}:{self.https_port}",
            "UPSTREAM": upstream,
            "TLS": str(self.folder),
            "CACHE": str(self.folder / "cache"),
            "HTTP_PORT": str(self.http_port),
            "HTTPS_PORT": str(self.https_port),
        }
        site = (ROOT / "deploy/nginx/portico.conf.template").read_text()
        for name, value in given.items():
            site = site.replace(f"${{PORTICO_{name}}}", value)
        if not Path("/proc/net/if_inet6").exists():
            site = "\n".join(line for line in site.splitlines() if "listen [::]" not in line)
        # As the user of the tests, who alone may enter their folders.
        whole = (ROOT / "deploy/nginx/nginx.conf").read_text()
        whole = whole.replace("user www-data;", f"user {getpass.getuser()};")
        files = {"conf.d/portico.conf": site, "nginx.conf": whole}
        for part in (ROOT / "deploy/nginx/portico").iterdir():
            files[f"portico/{part.name}"] = part.read_text()
        elsewhere = re.compile(r"/(var/log/nginx|etc/nginx|var/www)/")
        for name, text in files.items():
            (self.folder / name).write_text(elsewhere.sub(f"{self.folder}/", text))
