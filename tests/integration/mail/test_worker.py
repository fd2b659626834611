"""The worker: woken by commits, not put off by restarts, ended politely, killed without loss (F14, F18)."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from flask import Flask
from sqlalchemy import Engine, NullPool, create_engine, make_url, text

from config import PROJECT_ROOT
from models import db
from services import outbox_service, worker
from services.base_service import unit_of_work
from services.worker import Worker
from tests.integration.mail.desk import Outbox, SetAll, Write
from tests.integration.mail.postbox import Postbox, Received
from tests.processes import held

pytestmark = [pytest.mark.integration, pytest.mark.real_database]


PROGRAM = """
import json, sys
from app import create_app
from services import worker
app = create_app("testing", **json.loads(sys.argv[1]))
print("ready", flush=True)
worker.run(app)
"""
SETTINGS = (
    "MAIL_SERVER",
    "MAIL_PORT",
    "MAIL_USE_TLS",
    "BASE_URL",
    "MAIL_DEFAULT_SENDER",
    "SQLALCHEMY_POOL_SIZE",
)


def test_commit_wakes_the_worker(mail_app: Flask, postbox: Postbox, write: Write) -> None:
    with working(mail_app):
        write("alice@example.com")
        postbox.wait_for(1, seconds=3)
        write("bob@example.com", "charlie@example.com")
        postbox.wait_for(3, seconds=3)
    assert set(postbox.copies().values()) == {1}


def test_sweep_finds_what_nobody_announced(
    mail_app: Flask, postbox: Postbox, write: Write, set_all: SetAll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SWEEP_SECONDS", 0.2)
    write("alice@example.com")
    set_all(available_at="now() + interval '1 hour'")
    with working(mail_app):
        time.sleep(0.3)
        assert postbox.received == []
        set_all(available_at="now()")
        postbox.wait_for(1, seconds=3)


def test_worker_outlives_the_loss_of_its_connections(
    mail_app: Flask, postbox: Postbox, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LOST_DATABASE_SECONDS", 0.1)
    with working(mail_app):
        for number in range(3):
            write(f"reader{number}@example.com")
            postbox.wait_for(number + 1, seconds=5)
            cut_connections(mail_app)
    assert set(postbox.copies().values()) == {1}


def test_worker_waits_for_a_database_that_is_away(
    mail_app: Flask, postbox: Postbox, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LOST_DATABASE_SECONDS", 0.1)
    write("alice@example.com")
    with closed_database(mail_app), working(mail_app) as made:
        time.sleep(0.5)
        assert postbox.received == []
        open_database(mail_app)
        postbox.wait_for(1, seconds=5)
        made.stop()
    assert len(postbox.received) == 1


def test_worker_stops_while_the_database_is_away(mail_app: Flask) -> None:
    with closed_database(mail_app), working(mail_app):
        time.sleep(0.2)


def test_connections_lost_while_sending_give_no_second_copy(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox
) -> None:
    postbox.on_data = lambda mail: cut_connections(mail_app)
    write("alice@example.com")
    with working(mail_app):
        postbox.wait_for(1)
        wait_until(lambda: outbox()[0].status == "sent")
    assert set(postbox.copies().values()) == {1}


def test_backlog_flows_once_the_server_is_back(
    mail_app: Flask, postbox: Postbox, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SWEEP_SECONDS", 0.2)
    monkeypatch.setattr(outbox_service, "AWAY_SECONDS", (0.1, 0.2))
    postbox.close()
    with working(mail_app):
        write(*(f"reader{number}@example.com" for number in range(30)))
        time.sleep(1)
        postbox.open()
        postbox.wait_for(30)
    assert len(postbox.copies()) == 30
    assert set(postbox.copies().values()) == {1}


def test_fault_in_a_round_does_not_end_the_worker(
    mail_app: Flask, postbox: Postbox, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LOST_DATABASE_SECONDS", 0.1)
    deliver_due = outbox_service.deliver_due
    faults = iter([RuntimeError("boom")])

    def faulty(*, stopping: Callable[[], bool]) -> int:
        for fault in faults:
            raise fault
        return deliver_due(stopping=stopping)

    monkeypatch.setattr(outbox_service, "deliver_due", faulty)
    with working(mail_app):
        write("alice@example.com")
        postbox.wait_for(1, seconds=5)


def test_expired_rows_are_purged(mail_app: Flask, write: Write, outbox: Outbox, set_all: SetAll) -> None:
    write("alice@example.com")
    set_all(status="'sent'", sent_at="now()", created_at="now() - interval '31 days'")
    with mail_app.app_context(), unit_of_work():
        db.session.execute(
            text("INSERT INTO rate_limits (key, hits, expires_at) VALUES ('a', 1, now() - interval '1 day')")
        )
        db.session.execute(
            text(
                "INSERT INTO challenges (purpose, token_hash, expires_at)"
                " VALUES ('second_factor', 'x', now() - interval '1 second')"
            )
        )

    def left() -> int:
        with mail_app.app_context():
            count = "SELECT (SELECT count(*) FROM rate_limits) + (SELECT count(*) FROM challenges)"
            return db.session.scalar(text(count)) or 0

    with working(mail_app):
        wait_until(lambda: outbox() == [] and left() == 0)


def test_logs_hold_no_address_and_no_content(
    mail_app: Flask, postbox: Postbox, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    postbox.on_recipient = lambda address: "550 alice@example.com is unknown"
    write("alice@example.com")
    with mail_app.app_context():
        outbox_service.deliver_due()
    assert "mail_failed" in caplog.text
    assert "alice" not in caplog.text
    assert "token" not in caplog.text


@pytest.mark.slow
def test_sigterm_ends_the_process_politely(mail_app: Flask, postbox: Postbox, write: Write) -> None:
    with process(mail_app) as running:
        write("alice@example.com")
        postbox.wait_for(1)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0


@pytest.mark.slow
def test_sigterm_waits_for_the_mail_in_hand(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox
) -> None:
    with process(mail_app) as running:

        def interrupt(mail: Received) -> None:
            running.send_signal(signal.SIGTERM)
            time.sleep(0.3)

        postbox.on_data = interrupt
        write("alice@example.com", "bob@example.com")
        assert running.wait(10) == 0
    assert sorted(mail.status for mail in outbox()) == ["queued", "sent"]
    assert len(postbox.received) == 1


@pytest.mark.slow
def test_kill_while_sending_loses_nothing(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox, set_all: SetAll
) -> None:
    with process(mail_app) as running:

        def murder(mail: Received) -> None:
            running.send_signal(signal.SIGKILL)
            running.wait(5)

        postbox.on_data = murder
        write("alice@example.com")
        postbox.wait_for(1)
        assert running.wait(5) == -signal.SIGKILL
    (mail,) = outbox()
    assert (mail.status, mail.attempts) == ("queued", 1)
    postbox.on_data = lambda mail: None
    set_all(available_at="now()")  # the lease runs out
    with working(mail_app):
        postbox.wait_for(2)
        wait_until(lambda: outbox()[0].status == "sent")
    assert postbox.copies() == {mail.message_id: 2}


@contextmanager
def working(app: Flask) -> Iterator[Worker]:
    """A worker in a thread, for the block."""
    made = Worker(app)
    thread = threading.Thread(target=made.work)
    thread.start()
    try:
        yield made
    finally:
        made.stop()
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def process(app: Flask) -> Iterator[subprocess.Popen[str]]:
    """A worker in a process of its own, ready, for the block."""
    settings = {name: app.config[name] for name in SETTINGS}
    settings["DATABASE_URL"] = app.config["SQLALCHEMY_DATABASE_URI"]
    running = held(
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(settings)],
            cwd=PROJECT_ROOT,
            env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        yield running
    finally:
        running.kill()
        running.communicate(timeout=10)


def cut_connections(app: Flask) -> None:
    """End every connection to the database but the one that does it, as a restart would."""
    with app.app_context(), db.engines["reading"].connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


@contextmanager
def closed_database(app: Flask) -> Iterator[None]:
    """A database that takes no connection, for the block or until `open_database`."""
    with app.app_context():
        db.engine.dispose()
    set_open(app, "false")
    with server_of(app).connect() as server:
        server.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": database_of(app)},
        )
    try:
        yield
    finally:
        open_database(app)


def open_database(app: Flask) -> None:
    set_open(app, "true")


def set_open(app: Flask, is_open: str) -> None:
    with server_of(app).connect() as server:
        server.execute(text(f'ALTER DATABASE "{database_of(app)}" ALLOW_CONNECTIONS {is_open}'))


def server_of(app: Flask) -> Engine:
    """Beside the application's database, on the same server."""
    url = make_url(app.config["SQLALCHEMY_DATABASE_URI"]).set(database="postgres")
    return create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)


def database_of(app: Flask) -> str:
    return str(make_url(app.config["SQLALCHEMY_DATABASE_URI"]).database)


def wait_until(true: Callable[[], bool], *, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)
