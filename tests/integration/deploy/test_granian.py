"""granian instead of gunicorn, as docs/deployment.md has it: the same application, and a stop that loses nothing."""

import json
import os
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from localdb.testing import Databases
from tests.integration.deploy.servers import ROOT, free_port, until
from tests.integration.faults.servers import NAMED, PRODUCTION
from tests.processes import held

pytestmark = [pytest.mark.integration, pytest.mark.slow]
#: As docs/deployment.md has it.
COMMAND = (
    "granian --interface wsgi --workers 2 --workers-kill-timeout 10 --blocking-threads 4"
    " --host 127.0.0.1 --port {port} app:application"
)


def ask(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body, {**NAMED, **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def test_granian_serves_the_same_application(test_databases: Databases, tmp_path: Path) -> None:
    port = free_port()
    with test_databases.fresh_database("granian") as url, (tmp_path / "log").open("wb") as log:
        process = held(
            subprocess.Popen(
                [sys.executable, "-m", *COMMAND.format(port=port).split()],
                cwd=ROOT,
                env={**os.environ, **PRODUCTION, "FLASK_CONFIG": "production", "DATABASE_URL": url},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        )
        try:
            until(lambda: ask(port, "GET", "/health")[0] == 200, seconds=60, what="up")
            assert ask(port, "GET", "/health/ready")[0] == 200
            status, body = ask(port, "GET", "/api/v1/users/me")
            assert (status, json.loads(body)["error"]["code"]) == (401, "AUTHENTICATION_REQUIRED")
            wrong = json.dumps({"email": "nobody@example.com", "password": "wrong horse battery"}).encode()
            kind = {"Content-Type": "application/json"}
            assert ask(port, "POST", "/api/v1/auth/login", wrong, **kind)[0] == 401
            assert ask(port, "GET", "/auth/login")[0] == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
            process.wait()
