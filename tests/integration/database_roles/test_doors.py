"""The application works with a role that may do little: through its doors, as people and programs use them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text, update
from sqlalchemy.exc import ProgrammingError

from models import OutboxMail, db
from models.base import now
from models.enums import MailStatus
from services import database_log, doctor_service, mail_service, migration_service, outbox_service, worker
from services.base_service import reading, unit_of_work
from services.findings import Finding
from tests.clients import Api, PageClient
from tests.conftest import dispose
from tests.factories import make_person
from tests.integration.database_roles.conftest import Split, execute
from tests.integration.pages.desk import link_to

pytestmark = [pytest.mark.integration, pytest.mark.real_database]


@contextmanager
def working(app: Flask) -> Iterator[None]:
    """A worker beside the block."""
    loop = worker.Worker(app)
    thread = threading.Thread(target=loop.work)
    thread.start()
    try:
        yield
    finally:
        loop.stop()
        thread.join(timeout=20)
        assert not thread.is_alive()


def statuses(app: Flask, address: str) -> list[MailStatus]:
    with app.app_context(), reading():
        return list(db.session.scalars(db.select(OutboxMail.status).where(OutboxMail.to_address == address)))


def test_somebody_registers_confirms_and_signs_in(app: Flask, client: PageClient) -> None:
    email, password = "dora@example.com", "walnut harbour sixteen"
    assert client.submit("/auth/register", email=email, name="Dora", password=password).status_code == 303
    link = link_to(app, email, "/auth/verify-email")
    token = link.partition("token=")[2]
    assert client.get(link).status_code == 303
    assert client.submit("/auth/verify-email", token=token).status_code in {200, 303}
    assert client.submit("/auth/login", email=email, password=password).status_code == 303
    assert "Dora" in client.get("/dashboard").get_data(as_text=True)


def test_an_administrator_lists_changes_and_reads_the_log(app: Flask, api: Api) -> None:
    ada = api.as_(make_person(app, "Ada Okonkwo", role="admin"))
    bob = make_person(app, "Bob Castellanos")
    assert bob.id in [row["id"] for row in ada.get("/users?q=castellanos").json["data"]]
    assert ada.post(f"/users/{bob.id}/suspend", {"reason": "Tried it out."}).status_code == 200
    assert ada.delete(f"/users/{bob.id}").status_code in {200, 204}
    events = ada.get(f"/audit-events?filter[target_id]={bob.id}").json["data"]
    assert {"account:suspend", "account:delete"} <= {event["action"] for event in events}


def test_failed_sign_ins_are_counted(app: Flask, api: Api) -> None:
    """The counters have connections and transactions of their own."""
    body = {"email": "nobody-at-all@example.com", "password": "walnut harbour sixteen"}
    answers = [api.post("/auth/login", body).status_code for _ in range(11)]
    assert answers[0] == 401
    assert answers[-1] == 429


def test_the_worker_hears_of_a_mail_and_keeps_its_hours(app: Flask) -> None:
    with working(app):
        time.sleep(0.3)  # listening by now, and asleep for ten seconds
        with app.app_context(), unit_of_work():
            mail_service.send("account_deleted", to="erna@example.com", name="Erna")
        end = time.monotonic() + 5
        while statuses(app, "erna@example.com") != [MailStatus.SENT] and time.monotonic() < end:
            time.sleep(0.05)
    assert statuses(app, "erna@example.com") == [MailStatus.SENT]


def test_everything_that_has_expired_is_purged(app: Flask, split: Split) -> None:
    with app.app_context():
        with unit_of_work():
            mail_service.send("account_deleted", to="old@example.com", name="Old")
            db.session.flush()
            db.session.execute(
                update(OutboxMail).values(
                    status=MailStatus.SENT, sent_at=now(), created_at=now() - timedelta(days=40)
                )
            )
        execute(
            split.app,
            "INSERT INTO audit_events (action, created_at) VALUES ('account:logout', now() - interval '401 days')",
        )
        purged = worker.purge()
        assert set(purged) == set(worker.PURGES)
        assert purged["audit_events"] == 1
        assert purged["mails"] >= 1
        assert outbox_service.stats().queued == 0


def test_a_lock_that_processes_share_can_be_taken(split: Split) -> None:
    assert execute(split.app, "SELECT pg_try_advisory_lock(1)") == [(True,)]


def test_an_action_whose_event_can_not_be_written_does_not_happen(app: Flask, split: Split, api: Api) -> None:
    """F27, with the right itself taken away."""
    ada = api.as_(make_person(app, "Ada Okonkwo", role="admin"))
    bob = make_person(app, "Bob Castellanos")
    execute(split.administrator, f'REVOKE INSERT ON audit_events FROM "{split.app.username}"')
    try:
        assert ada.post(f"/users/{bob.id}/suspend", {"reason": "Tried it out."}).status_code == 503
        assert ada.get(f"/users/{bob.id}").json["data"]["is_active"] is True
    finally:
        execute(split.administrator, f'GRANT INSERT ON audit_events TO "{split.app.username}"')


def test_the_doctor_finds_nothing_to_mend(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "ENVIRONMENT", "production")
    with app.app_context(), reading():
        found = {finding.name: finding for finding in doctor_service.examine()}
    assert (found["audit log"].status, found["rights"].status) == ("pass", "pass")
    assert "database user" not in found


@pytest.mark.parametrize(
    "setting",
    [
        "log_error_verbosity = verbose",
        "log_min_error_statement = error",
        "log_parameter_max_length_on_error = -1",
        "log_statement = mod",
        "log_min_duration_statement = 500",
    ],
)
def test_the_doctor_tells_of_a_server_whose_log_would_show_values(
    app: Flask, split: Split, setting: str
) -> None:
    role = f'ALTER ROLE "{split.app.username}"'
    assert log_finding(app).status == "pass"
    execute(split.administrator, f"{role} SET {setting}")
    try:
        found = log_finding(app)
        assert found.status == "warn"
        assert setting.partition(" ")[0] in found.detail
        assert "roles.sql" in found.remedy
    finally:
        split.take()


def log_finding(app: Flask) -> Finding:
    """The doctor's, on a connection that has the role's present settings."""
    dispose(app)
    with app.app_context(), reading():
        (found,) = database_log.check()
    dispose(app)
    return found


@pytest.mark.parametrize(
    ("right", "named"),
    [
        ("SELECT, UPDATE ON users", "users (SELECT, UPDATE)"),
        ("INSERT ON audit_events", "audit_events (INSERT)"),
        ("EXECUTE ON FUNCTION purge_audit_events(timestamptz, integer)", "purge_audit_events"),
    ],
)
def test_the_doctor_names_a_right_that_is_missing(app: Flask, split: Split, right: str, named: str) -> None:
    execute(split.administrator, f'REVOKE {right} FROM "{split.app.username}"')
    try:
        with app.app_context(), reading():
            found = {finding.name: finding for finding in doctor_service._database_roles()}
        assert found["rights"].status == "fail"
        assert named in found["rights"].detail
        assert "roles.sql" in found["rights"].remedy
    finally:
        execute(split.administrator, f'GRANT {right} TO "{split.app.username}"')


def test_the_doctor_tells_of_a_log_that_can_be_changed(
    app: Flask, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "ENVIRONMENT", "production")
    execute(split.administrator, f'GRANT UPDATE ON audit_events TO "{split.app.username}"')
    try:
        with app.app_context(), reading():
            found = {finding.name: finding for finding in doctor_service._database_roles()}
        assert found["audit log"].status == "warn"
    finally:
        execute(split.administrator, f'REVOKE UPDATE ON audit_events FROM "{split.app.username}"')


def test_a_role_that_may_not_migrate_is_told_who_may(
    app: Flask, split: Split, caplog: pytest.LogCaptureFixture
) -> None:
    ((newest,),) = execute(split.app, "SELECT version_num FROM alembic_version")
    with app.app_context():
        assert migration_service.bring_up_to_date() is False
        execute(split.owner, "UPDATE alembic_version SET version_num = '0011'")
        try:
            with pytest.raises(SystemExit):
                migration_service.bring_up_to_date()
        finally:
            execute(split.owner, f"UPDATE alembic_version SET version_num = '{newest}'")
    assert "DATABASE_URL of the role that owns the tables" in caplog.text


def test_the_purge_is_no_way_around(app: Flask) -> None:
    with app.app_context():
        db.session.execute(text("SELECT set_config('portico.purging', 'on', false)"))
        with pytest.raises(ProgrammingError, match="permission denied for table"):
            db.session.execute(
                text("DELETE FROM audit_events WHERE created_at < now() - interval '1000 days'")
            )
        db.session.rollback()
