"""What is interrupted leaves nothing behind (F7, F8, F10, F27): deadlocks, storms, full disks, refused events."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import psycopg2
import pytest
from flask import Flask
from sqlalchemy import Engine

from app import create_app
from models import db
from tests.clients import Api
from tests.factories import Person, make_person
from tests.integration.deploy.servers import until
from tests.integration.faults.crowd import Crowd
from tests.integration.faults.servers import (
    Postgres,
    Site,
    check_unavailable,
    running_copy,
    sign_in_body,
    tokens_of,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(120)]

REFUSE = """
    CREATE FUNCTION injected() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'injected fault'; END $$;
    CREATE TRIGGER injected BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION injected();
"""
REGISTER = {"email": "new@example.com", "password": "a long enough pass phrase 7", "name": "New"}


def test_fault_between_two_writes_leaves_nothing(site: Site, postgres: Postgres) -> None:
    postgres.ask(REFUSE.format(table="outbox"))
    answer = site.ask("POST", "/api/v1/auth/register", REGISTER, headers={"Idempotency-Key": "one-two-three"})
    assert (answer.status, answer.code) == (500, "INTERNAL_ERROR")
    assert b"injected" not in answer.body
    (logged,) = site.logged("unhandled_exception")
    assert logged["request_id"] == answer.headers["x-request-id"]
    assert left_of(postgres, "new@example.com") == (0, 0, 0)
    postgres.ask("DROP TRIGGER injected ON outbox")
    again = site.ask("POST", "/api/v1/auth/register", REGISTER, headers={"Idempotency-Key": "one-two-three"})
    assert again.status == 202, "a call that failed may be repeated under its key"
    assert left_of(postgres, "new@example.com") == (1, 1, 1)


def test_fault_at_the_commit_leaves_nothing(site: Site, postgres: Postgres, tokens: list[str]) -> None:
    postgres.ask(
        REFUSE.format(table="audit_events")
        .replace("CREATE TRIGGER", "CREATE CONSTRAINT TRIGGER")
        .replace(
            "BEFORE INSERT ON audit_events", "AFTER INSERT ON audit_events DEFERRABLE INITIALLY DEFERRED"
        )
    )
    answer = site.ask("PATCH", "/api/v1/users/me", {"name": "Never Seen"}, token=tokens[0])
    assert (answer.status, answer.code) == (500, "INTERNAL_ERROR")
    assert name_of(postgres, postgres.people[0]) != "Never Seen"


def test_without_its_audit_event_nothing_happens(
    serve: Callable[..., Site], postgres: Postgres, tokens: list[str]
) -> None:
    """As in production, the application's account is no superuser; then a right is taken from it."""
    postgres.ask("CREATE ROLE portico LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO portico")
    postgres.ask("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO portico")
    site = serve(DATABASE_URL=postgres.url.replace("postgres@", "portico@"))
    person = postgres.people[0]
    assert site.ask("POST", "/api/v1/auth/login", sign_in_body(person)).status == 200
    sessions = postgres.ask("SELECT count(*) FROM sessions")
    postgres.ask("REVOKE INSERT ON audit_events FROM portico")
    check_unavailable(site.ask("POST", "/api/v1/auth/login", sign_in_body(person)), as_json=True)
    check_unavailable(
        site.ask("PATCH", "/api/v1/users/me", {"name": "Unseen"}, token=tokens[0]), as_json=True
    )
    check_unavailable(site.ask("POST", "/api/v1/auth/logout-all", token=tokens[0]), as_json=True)
    assert postgres.ask("SELECT count(*) FROM sessions") == sessions
    assert name_of(postgres, person) != "Unseen"
    assert site.ask("GET", "/api/v1/users/me", token=tokens[0]).status == 200
    assert site.logged("database_refuses")
    postgres.ask("GRANT INSERT ON audit_events TO portico")
    assert site.ask("POST", "/api/v1/auth/login", sign_in_body(person)).status == 200


def test_deadlock_is_resolved_by_trying_again(site: Site, postgres: Postgres, tokens: list[str]) -> None:
    """The rename holds the person's row and wants to write an event; somebody holds the events and wants the row."""
    statuses: list[int] = []

    def rename() -> None:
        statuses.append(
            site.ask("PATCH", "/api/v1/users/me", {"name": "Tried Again"}, token=tokens[0]).status
        )

    with closing(postgres.connect()) as other, other.cursor() as cursor:
        other.autocommit = False
        cursor.execute("SET deadlock_timeout = '10s'; LOCK TABLE audit_events IN EXCLUSIVE MODE")
        renaming = threading.Thread(target=rename)
        renaming.start()
        until(lambda: postgres.waiting() == 1, seconds=5, what="the rename waits")
        cursor.execute("SELECT FROM users WHERE id = %s FOR UPDATE", (postgres.people[0].id,))
        other.commit()
        renaming.join(10)
    assert statuses == [200]
    assert name_of(postgres, postgres.people[0]) == "Tried Again"
    assert "deadlock detected" in postgres.cluster.places.log.read_text()


def test_storm_of_conflicts_leaves_an_administrator(postgres: Postgres) -> None:
    """Twelve administrators suspend each other at once, in serializable transactions."""
    app = create_app("testing", DATABASE_URL=postgres.url)
    with app.app_context():
        engines = cast("dict[str | None, Engine]", db.engines)
        engines[None] = engines[None].execution_options(isolation_level="SERIALIZABLE")
    try:
        admins = [make_person(app, f"Admin {n}", role="admin") for n in range(12)]
        statuses = at_once(app, admins)
    finally:
        with app.app_context():
            db.engine.dispose()
        app.extensions["counter_engine"].dispose()
    assert 200 in statuses
    assert set(statuses) <= {200, 401, 403, 404, 409, 503}, statuses
    ((left,),) = postgres.ask("SELECT count(*) FROM users WHERE role = 'admin' AND is_active")
    assert left >= 1


def test_full_disk_stops_writing_and_not_reading(
    seed: tuple[Path, list[Person]], small_disk: Path, tmp_path: Path
) -> None:
    data, people = seed
    with running_copy(data, small_disk, people, max_wal_size="32MB", min_wal_size="32MB") as postgres:
        tokens = tokens_of(postgres)[:-1]
        site = Site(tmp_path / "log", DATABASE_URL=postgres.url)
        try:
            crowd = Crowd(site, tokens)
            ballast = small_disk / "ballast"
            with crowd.busy():
                time.sleep(1)
                leave_room_for_the_log(postgres)
                fill(ballast)
                meet_the_end_of_the_disk(postgres)
                until(lambda: crowd.asked["write 503"] > 5, seconds=20, what="writes are refused")
                before = crowd.asked["read 200"]
                until(lambda: crowd.asked["read 200"] > before + 20, seconds=10, what="reads go on")
                assert site.ask("GET", "/health").status == 200
                ballast.unlink()
                postgres.ask("DROP TABLE ballast")
                acknowledged = len(crowd.acknowledged)
                until(lambda: len(crowd.acknowledged) > acknowledged + 5, seconds=20, what="writes again")
            assert crowd.statuses() == {"200", "503"}, crowd.asked
            assert crowd.lost_writes(postgres) == []
            assert site.logged("unhandled_exception") == []
        finally:
            site.kill()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 300 MB in memory."""
    folder = Path("/tmp") / f"portico-small-disk-{os.getpid()}"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300m,mode=755", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def fill(ballast: Path) -> None:
    """Leave next to nothing free."""
    free = shutil.disk_usage(ballast.parent).free
    with ballast.open("wb") as file:
        file.write(b"x" * (free - 256 * 1024))


def leave_room_for_the_log(postgres: Postgres) -> None:
    """Begin a new segment of 16 MB: without room for its log the server ends, and has to be started."""
    postgres.ask("SELECT pg_switch_wal()")
    postgres.ask("CREATE UNLOGGED TABLE ballast (filling text)")


def meet_the_end_of_the_disk(postgres: Postgres) -> None:
    """Have the server use what is left, and what a checkpoint may free meanwhile."""
    with pytest.raises(psycopg2.errors.DiskFull):
        postgres.ask("INSERT INTO ballast SELECT repeat('x', 1000) FROM generate_series(1, 200000)")


def at_once(app: Flask, admins: list[Person]) -> list[int]:
    """Each suspends the next one, all at the same moment."""
    callers = [Api(app).as_(admin) for admin in admins]
    barrier = threading.Barrier(len(admins))
    statuses: list[int] = []

    def suspend(number: int) -> None:
        barrier.wait()
        target = admins[(number + 1) % len(admins)]
        answer = callers[number].patch(f"/users/{target.id}", {"is_active": False})
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=suspend, args=(number,)) for number in range(len(admins))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return statuses


def left_of(postgres: Postgres, email: str) -> tuple[int, int, int]:
    """How many accounts, links and mails there are for an address."""
    ((accounts, links, mails),) = postgres.ask(
        "SELECT (SELECT count(*) FROM users WHERE email = %s),"
        " (SELECT count(*) FROM one_time_tokens WHERE email = %s),"
        " (SELECT count(*) FROM outbox WHERE to_address = %s)",
        *(email, email, email),
    )
    return accounts, links, mails


def name_of(postgres: Postgres, person: Person) -> str:
    """As it stands in the database."""
    ((name,),) = postgres.ask("SELECT name FROM users WHERE id = %s", person.id)
    return str(name)
