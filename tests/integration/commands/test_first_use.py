"""The promises about starting in other ways: importing, flask run and shell, servers, settings that are wrong."""

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.integration.commands.starts import Start, free_port, run
from tests.integration.localdb.servers import open_folder, server_runs, until
from tests.unit.settings.settings import GOOD

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(120)]

WATCH = """
import sys
touched = []
def note(event, arguments):
    if event in {"socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "os.exec", "os.mkdir"}:
        touched.append((event, str(arguments)))
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        if "__pycache__" not in str(arguments[0]):
            touched.append((event, str(arguments)))
sys.addaudithook(note)
sys.dont_write_bytecode = True
import app
import threading
print(touched, threading.active_count(), "application" in vars(app))
"""
SCRIPT = """
from app import create_app, db
from models import User
app = create_app("testing")
with app.app_context():
    db.session.add(User(email="eve@example.com", name="Eve"))
    db.session.commit()
    print(db.session.query(User).count(), app.test_client().get("/api/v1/status").status_code)
    db.session.remove()
    db.drop_all()
again = create_app("testing")
with again.app_context():
    print(db.session.query(User).count())
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder for one database, empty at first."""
    with open_folder() as made:
        yield made


def gone(folder: Path) -> None:
    until(lambda: not server_runs(folder / "data"), seconds=30)


def test_importing_app_touches_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, "-c", WATCH)
    assert result.stdout == "[] 1 False\n", result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_script_gets_a_fresh_database_for_testing(folder: Path) -> None:
    result = run(folder, "-W", "error", "-c", SCRIPT)
    assert result.stdout == "1 200\n0\n", result.stderr
    until(lambda: not server_runs(folder / "data-test"), seconds=30)


def test_shell_has_app_db_and_models_and_an_empty_database_gets_its_tables(folder: Path) -> None:
    line = "print(app.name, db.session.query(User).count() >= 0, AuditEvent.__tablename__)"
    result = run(folder, "-m", "flask", "shell", typed=line)
    assert "portico True audit_events" in result.stdout, result.stderr
    gone(folder)


def test_flask_run_works_by_itself_and_links_follow_its_port(folder: Path) -> None:
    port = free_port()
    start = Start(folder, program=("-m", "flask", "run", "--port", str(port)))
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/health"), seconds=60)
        body = json.dumps(
            {"email": "eve@example.com", "password": "lantern orchid gravel nine", "name": "Eve"}
        )
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v1/auth/register",
            data=body.encode(),
            headers={"Content-Type": "application/json"},
        )
        assert urllib.request.urlopen(request, timeout=20).status == 202
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/dev/mail.json", timeout=20) as mails:
            assert f"http://localhost:{port}/auth/verify-email" in json.load(mails)[0]["text"]
    finally:
        start.kill()
        gone(folder)


def test_worker_delivers_and_stops_on_request(folder: Path) -> None:
    start = Start(folder, program=("-m", "flask", "worker"))
    try:
        until(lambda: "worker_started" in start.said, seconds=60)
        started = time.monotonic()
        assert start.stop() == 0
        assert time.monotonic() - started < 10
        assert "worker_stopped" in start.said
    finally:
        start.kill()
        gone(folder)


def test_gunicorn_takes_the_configuration(folder: Path) -> None:
    result = run(
        folder, "-m", "gunicorn", "--config", "gunicorn.conf.py", "--check-config", "app:application"
    )
    assert result.returncode == 0, result.stderr
    gone(folder)


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "gunicorn", "--config", "gunicorn.conf.py", "app:application"),
        ("-m", "flask", "run"),
        ("-m", "flask", "start"),
        ("-m", "flask", "worker"),
        ("-m", "flask", "db", "upgrade"),
        ("-m", "flask", "users", "list"),
        ("-m", "flask", "doctor"),
        ("-m", "flask", "config", "check"),
        ("app.py",),
    ],
    ids=" ".join,
)
def test_wrong_settings_refuse_to_start_without_a_value(folder: Path, words: tuple[str, ...]) -> None:
    wrong = {"SECRET_KEY": "hunter2-hunter2", "FLASK_DEBUG": "true", "TRUSTED_HOSTS": "hunter2 hunter2"}
    result = run(folder, *words, FLASK_CONFIG="production", **GOOD | wrong)
    assert result.returncode not in {0, None}
    said = result.stdout + result.stderr
    assert all(name in said for name in wrong)
    assert "hunter2" not in said
    assert not any(value in said for name, value in GOOD.items() if name not in {"MAIL_DEFAULT_SENDER"})
    assert "Traceback" not in said


def test_settings_are_told_without_a_database(folder: Path) -> None:
    result = run(folder, "-m", "flask", "config", "explain", "--json", FLASK_CONFIG="production", **GOOD)
    told = json.loads(result.stdout)
    assert told["SECRET_KEY"]["value"] == "set"
    assert told["BASE_URL"] == {
        "topic": "Site",
        "value": "https://app.example.com",
        "origin": "environment",
        "fault": "",
    }
    assert run(folder, "-m", "flask", "config", "check", FLASK_CONFIG="production", **GOOD).returncode == 0


def test_doctor_tells_wrong_settings_as_json(folder: Path) -> None:
    result = run(folder, "-m", "flask", "doctor", "--json", FLASK_CONFIG="production")
    assert result.returncode == 1
    assert "SECRET_KEY: is required" in [finding["detail"] for finding in json.loads(result.stdout)]


def test_commands_say_that_the_database_is_away(folder: Path) -> None:
    away = GOOD | {"DATABASE_URL": "postgresql://app@127.0.0.1:1/app"}
    result = run(folder, "-m", "flask", "users", "list", FLASK_CONFIG="production", **away)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith("Error: Not ready (database: OperationalError)")


def test_commands_answer_on_standard_output_alone(folder: Path) -> None:
    result = run(folder, "-m", "flask", "users", "list", "--json", RATELIMIT_ENABLED="false")
    assert isinstance(json.loads(result.stdout), list)
    assert "Rate limits are off" in result.stderr
    gone(folder)


def test_tests_use_the_database_they_are_given(app: Flask) -> None:
    assert "/t_" in app.config["SQLALCHEMY_DATABASE_URI"]


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except OSError:
        return False
    return True
