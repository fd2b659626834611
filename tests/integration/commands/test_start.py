"""flask start: one command, one box, and nothing left behind however it ends."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.commands.starts import Start, free_port, is_alive, run
from tests.integration.localdb.servers import open_folder, server_runs, until
from tests.unit.settings.settings import GOOD

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

Begin = Callable[..., Start]


@pytest.fixture(scope="module")
def used_folder() -> Iterator[Path]:
    """A folder whose database is made and migrated."""
    with open_folder() as folder:
        made = run(folder, "-m", "flask", "users", "list")
        assert made.returncode == 0, made.stderr
        yield folder


@pytest.fixture
def new_folder() -> Iterator[Path]:
    """A folder without a database."""
    with open_folder() as folder:
        yield folder


@pytest.fixture
def begin(used_folder: Path, new_folder: Path) -> Iterator[Begin]:
    """Starts, each ended afterwards."""
    begun: list[Start] = []

    def begin(*words: str, folder: Path = used_folder, **variables: str) -> Start:
        variables.setdefault("PORT", str(free_port()))
        begun.append(Start(folder, *words, variables=variables))
        return begun[-1]

    yield begin
    for start in begun:
        start.kill()
    until(lambda: not any(server_runs(start.data) for start in begun), seconds=30)


def test_first_start_prints_a_box_that_is_true(begin: Begin, new_folder: Path) -> None:
    start = begin(folder=new_folder).up()
    said = dict(re.findall(r"^│ (\S.*?)  +(\S.*?) +│$", start.said, re.MULTILINE))
    assert list(said) == ["Site", "First administrator", "Mailbox", "API documentation", "Try"]
    assert start.said.count("┌") == 1
    status = json.loads(subprocess.check_output(said["Try"].replace("curl", "curl -s").split()))
    assert status["data"]["environment"] == "development"
    for name in ("Site", "First administrator", "Mailbox", "API documentation"):
        assert start.get(said[name].removeprefix(start.site)).lower().startswith(b"<!doctype html>"), name
    assert b"Create the first administrator" in start.get(
        said["First administrator"].removeprefix(start.site)
    )
    assert start.stop(signal.SIGINT) == 0


def test_with_an_administrator_there_is_no_such_link(begin: Begin, used_folder: Path) -> None:
    words = ("-m", "flask", "users", "create", "ada@example.com", "--name", "Ada", "--role", "admin")
    assert run(used_folder, *words).returncode == 0
    start = begin().up()
    assert "First administrator" not in start.said
    assert f"Sign in            {start.site}/auth/login" in start.said
    assert run(used_folder, "-m", "flask", "users", "set-role", "ada@example.com", "member").returncode == 1


def test_busy_port_is_said_and_the_next_one_taken(begin: Begin) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        start = begin(PORT=str(port)).up()
    assert f"Port {port} is in use; taking {port + 1}." in start.said
    assert start.site == f"http://localhost:{port + 1}"
    assert b'"healthy"' in start.get("/health")


def test_links_in_mails_follow_the_port(begin: Begin) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        start = begin(PORT=str(port)).up()
    body = {"email": "eve@example.com", "password": "lantern orchid gravel nine", "name": "Eve"}
    post = ["curl", "-s", "-H", "Content-Type: application/json", "-d", json.dumps(body)]
    subprocess.check_output([*post, f"{start.site}/api/v1/auth/register"])
    (mail,) = json.loads(start.get("/dev/mail.json"))
    assert f"{start.site}/auth/verify-email?token=" in mail["text"]


def test_two_checkouts_at_once(begin: Begin, new_folder: Path) -> None:
    port = str(free_port())
    starts = [begin(PORT=port), begin(folder=new_folder, PORT=port)]
    sites = {start.up().site for start in starts}
    assert len(sites) == 2
    assert all(b'"healthy"' in start.get("/health") for start in starts)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything(begin: Begin, number: signal.Signals) -> None:
    start = begin().up()
    children = start.children()
    assert len(children) == 2
    assert start.stop(number) == 0
    assert not any(is_alive(child) for child in children)
    assert "Stopping" in start.said
    assert "Traceback" not in start.said
    until(lambda: not server_runs(start.data), seconds=30)


def test_a_signal_while_it_starts_stops_everything(begin: Begin) -> None:
    start = begin()
    until(lambda: server_runs(start.data) and bool(start.children()), seconds=30)
    start.process.send_signal(signal.SIGTERM)
    start.process.wait(timeout=20)
    until(lambda: not server_runs(start.data), seconds=30)
    assert "Traceback" not in start.said


def test_kill_9_leaves_nothing_behind(begin: Begin) -> None:
    start = begin().up()
    children = start.children()
    start.process.kill()
    start.process.wait()
    until(lambda: not any(is_alive(child) for child in children), seconds=20)
    until(lambda: not server_runs(start.data), seconds=30)


@pytest.mark.parametrize(("number", "name"), [(0, "web server"), (1, "worker")])
def test_when_one_child_dies_everything_stops(begin: Begin, number: int, name: str) -> None:
    start = begin().up()
    children = start.children()
    subprocess.check_call(["kill", "-9", str(children[number])])
    assert start.process.wait(timeout=20) == 1
    assert f"The {name} has ended (SIGKILL), so everything is stopped." in start.said
    assert not any(is_alive(child) for child in children)


def test_second_start_is_quick(begin: Begin) -> None:
    began = time.monotonic()
    begin().up()
    assert (
        time.monotonic() - began < 20
    )  # about 3 s on an idle machine; nothing is installed, made or migrated


def test_several_requests_at_once(begin: Begin) -> None:
    start = begin().up()
    with ThreadPoolExecutor(12) as pool:
        bodies = list(pool.map(start.get, ["/api/v1/status", "/auth/login"] * 12))
    assert all(b"Portico" in body for body in bodies)


def test_without_a_worker(begin: Begin) -> None:
    assert len(begin("--no-worker").up().children()) == 1


def test_python_app_py_is_the_same_without_the_worker(used_folder: Path) -> None:
    start = Start(used_folder, program=("app.py",), variables={"PORT": str(free_port())})
    try:
        assert len(start.up().children()) == 1
        assert start.stop(signal.SIGINT) == 0
    finally:
        start.kill()
        until(lambda: not server_runs(start.data), seconds=30)


def test_ipv6_and_every_address(begin: Begin) -> None:
    assert begin(FLASK_HOST="0.0.0.0").up().site.startswith("http://localhost:")
    assert b'"healthy"' in begin(FLASK_HOST="::1").up().get("/health")


def test_changed_code_starts_again_while_debugging(begin: Begin, used_folder: Path) -> None:
    start = begin(FLASK_DEBUG="1").up()
    former = start.children()
    touched = Path(__file__).resolve().parents[3] / "services" / "clock.py"
    touched.touch()
    until(lambda: "The code has changed" in start.said, seconds=20)
    until(lambda: len(start.children()) == 2 and not set(former) & set(start.children()), seconds=20)
    assert b'"healthy"' in start.get("/health")


def test_production_is_refused(used_folder: Path) -> None:
    good = GOOD | {"DATABASE_URL": "postgresql://app@127.0.0.1:1/app"}
    refused = run(used_folder, "-m", "flask", "start", FLASK_CONFIG="production", **good)
    assert refused.returncode == 1
    assert "gunicorn --config gunicorn.conf.py app:application" in refused.stderr


def test_privileged_or_impossible_address_is_told(used_folder: Path) -> None:
    refused = run(used_folder, "-m", "flask", "start", FLASK_HOST="192.0.2.1", PORT=str(free_port()))
    assert refused.returncode == 1
    assert "Can't listen on 192.0.2.1" in refused.stderr
    assert "Traceback" not in refused.stderr
