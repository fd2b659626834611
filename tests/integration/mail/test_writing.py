"""Mails are rows of the transaction that causes them."""

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import text

from config import PROJECT_ROOT
from models import AuditEvent, db
from models.base import now
from services import mail_service, outbox_service
from services.base_service import reading, unit_of_work
from services.errors import Conflict, NotFound
from services.outbox_service import MailStillQueued
from services.principal import Principal
from services.schemas.outbox import OutboxQuery
from tests.conftest import counted
from tests.factories import Person
from tests.integration.mail.desk import Outbox, SetAll, Write

pytestmark = pytest.mark.integration

TOKEN = "token-that-opens-the-account"


def test_mail_is_kept_with_its_cause(app: Flask, outbox: Outbox) -> None:
    with app.app_context(), unit_of_work():
        mail_service.send("already_registered", to="alice@example.com", name="Alice")
    (mail,) = outbox()
    assert (mail.kind, mail.to_address, mail.subject) == (
        "already_registered",
        "alice@example.com",
        "You already have an account",
    )
    assert (mail.status, mail.attempts, mail.sent_at) == ("queued", 0, None)
    assert mail.message_id == f"<{mail.id}@localhost>"


def test_mail_is_gone_with_its_cause(app: Flask, outbox: Outbox) -> None:
    def write_and_fail() -> None:
        with unit_of_work():
            mail_service.send("already_registered", to="alice@example.com", name="Alice")
            raise Conflict

    with app.app_context(), pytest.raises(Conflict):
        write_and_fail()
    assert outbox() == []


def test_dump_holds_no_usable_link(app: Flask) -> None:
    with app.app_context(), unit_of_work():
        mail_service.send(
            "reset_password", to="a@example.com", name="Alice", token=TOKEN, lifetime=timedelta(days=1)
        )
    with app.app_context():
        dump = db.session.execute(text("SELECT outbox::text FROM outbox")).scalar_one()
        payload = db.session.execute(text("SELECT payload_encrypted FROM outbox")).scalar_one()
        (mail,) = outbox_service.mailbox()
    assert TOKEN not in dump
    assert TOKEN.encode() not in bytes(payload)
    assert TOKEN in mail.text
    assert TOKEN in mail.html


def test_writing_takes_two_statements(app: Flask) -> None:
    with app.app_context(), unit_of_work(), counted() as statements:
        mail_service.send("already_registered", to="alice@example.com", name="Alice")
    assert len(statements) == 2


def test_without_a_server_mails_stay_in_the_mailbox(app: Flask, write: Write, outbox: Outbox) -> None:
    write("alice@example.com", "bob@example.com")
    with app.app_context():
        assert outbox_service.deliver_due() == 2
        assert outbox_service.deliver_due() == 0
        mails = outbox_service.mailbox()
    assert [mail.status for mail in outbox()] == ["sent", "sent"]
    assert {mail.to for mail in mails} == {"alice@example.com", "bob@example.com"}
    assert mails[0].model_dump(mode="json").keys() == {"id", "to", "subject", "text", "html", "created_at"}


def test_mailbox_shows_the_newest_first(app: Flask, write: Write, set_all: SetAll) -> None:
    write("alice@example.com")
    set_all(created_at="created_at - interval '1 minute'")
    write("bob@example.com")
    with app.app_context():
        assert [mail.to for mail in outbox_service.mailbox()] == ["bob@example.com", "alice@example.com"]


def test_mailbox_outlives_a_lost_key(app: Flask, write: Write, set_all: SetAll) -> None:
    write("alice@example.com")
    set_all(payload_encrypted="'\\x00'")
    with app.app_context():
        (mail,) = outbox_service.mailbox()
    assert mail.text == "This mail was encrypted under a key that is gone."


def test_mailbox_opens_one_mail(app: Flask, write: Write, outbox: Outbox) -> None:
    write("alice@example.com")
    with app.app_context():
        assert outbox_service.mailbox_mail(outbox()[0].id).to == "alice@example.com"
        with pytest.raises(NotFound):
            outbox_service.mailbox_mail(uuid4())


def test_list_shows_no_content_and_filters(app: Flask, write: Write, set_all: SetAll) -> None:
    write("alice@example.com")
    set_all(status="'failed'", last_error="'550 nobody here'")
    write("bob@example.com")
    with app.app_context():
        every = outbox_service.page(OutboxQuery())
        failed = outbox_service.page(OutboxQuery.model_validate({"filter[status]": "failed"}))
    assert {row.to_address for row in every.rows} == {"alice@example.com", "bob@example.com"}
    assert [row.last_error for row in failed.rows] == ["550 nobody here"]
    assert not hasattr(every.rows[0], "payload_encrypted")


def test_list_can_be_walked_by_cursor(app: Flask, write: Write) -> None:
    write(*(f"reader{number}@example.com" for number in range(5)))
    seen: list[str] = []
    cursor: str | None = ""
    with app.app_context():
        while cursor is not None:
            listing = outbox_service.page(OutboxQuery(cursor=cursor, per_page=2))
            seen += [row.to_address for row in listing.rows]
            cursor = listing.next["cursor"] if listing.next else None
    assert sorted(seen) == [f"reader{number}@example.com" for number in range(5)]


def test_stats_take_one_statement(app: Flask, write: Write, set_all: SetAll) -> None:
    write("alice@example.com", "bob@example.com")
    set_all(status="'failed'")
    write("charlie@example.com")
    with app.app_context(), reading(), counted() as statements:
        stats = outbox_service.stats()
    assert (stats.queued, stats.failed) == (1, 2)
    assert stats.oldest_queued_at is not None
    assert len(statements) == 1


def test_stats_of_an_empty_outbox(app: Flask) -> None:
    with app.app_context():
        stats = outbox_service.stats()
    assert (stats.queued, stats.failed, stats.oldest_queued_at) == (0, 0, None)


def test_parked_mail_can_be_sent_again(
    app: Flask, ada: Person, write: Write, outbox: Outbox, set_all: SetAll
) -> None:
    write("alice@example.com")
    set_all(status="'failed'", attempts="48", last_error="'451 later'")
    before = outbox()[0]
    with app.app_context(), unit_of_work():
        outbox_service.resend(before.id, by=principal(ada))
    (mail,) = outbox()
    assert (mail.status, mail.attempts, mail.last_error) == ("queued", 0, None)
    assert mail.message_id == before.message_id
    with app.app_context():
        event = db.session.scalars(db.select(AuditEvent)).one()
        assert (event.action, event.actor_id, event.details) == (
            "mail:resend",
            ada.id,
            {"mail_id": str(mail.id), "kind": "already_registered"},
        )


def test_sent_mail_can_be_sent_again(
    app: Flask, ada: Person, write: Write, outbox: Outbox, set_all: SetAll
) -> None:
    write("alice@example.com")
    set_all(status="'sent'", sent_at="now()")
    with app.app_context(), unit_of_work():
        outbox_service.resend(outbox()[0].id, by=principal(ada))
    (mail,) = outbox()
    assert (mail.status, mail.sent_at) == ("queued", None)


def test_command_line_sends_again_without_an_actor(
    app: Flask, write: Write, outbox: Outbox, set_all: SetAll
) -> None:
    write("alice@example.com")
    set_all(status="'failed'")
    with app.app_context(), unit_of_work():
        outbox_service.resend(outbox()[0].id, by=None)
    with app.app_context():
        assert db.session.scalars(db.select(AuditEvent)).one().actor_id is None
    assert outbox()[0].status == "queued"


def test_waiting_mail_is_not_queued_twice(app: Flask, ada: Person, write: Write, outbox: Outbox) -> None:
    write("alice@example.com")
    mail_id = outbox()[0].id
    with app.app_context(), pytest.raises(MailStillQueued), unit_of_work():
        outbox_service.resend(mail_id, by=principal(ada))


def test_unknown_mail_is_not_found(app: Flask, ada: Person) -> None:
    with app.app_context(), pytest.raises(NotFound):
        outbox_service.resend(uuid4(), by=principal(ada))
    with app.app_context(), pytest.raises(NotFound):
        outbox_service.get(uuid4())


def test_purge_forgets_old_mails_but_none_that_waits(
    app: Flask, write: Write, outbox: Outbox, set_all: SetAll
) -> None:
    write("old-and-sent@example.com")
    set_all(status="'sent'", sent_at="now()", created_at="now() - interval '31 days'")
    write("old-and-waiting@example.com")
    set_all(created_at="now() - interval '31 days'")
    write("new@example.com")
    with app.app_context(), unit_of_work():
        assert outbox_service.purge() == 1
    assert [mail.to_address for mail in outbox()] == ["old-and-waiting@example.com", "new@example.com"]


@pytest.mark.parametrize(
    "path",
    sorted(
        {
            path
            for template in (PROJECT_ROOT / "templates" / "emails").iterdir()
            for path in re.findall(r'link\("([^"]+)"', template.read_text(encoding="utf-8"))
        }
    ),
)
def test_links_in_mails_lead_to_pages(app: Flask, path: str) -> None:
    endpoint, _ = app.url_map.bind("localhost").match(path, method="GET")
    assert endpoint.startswith(("auth.", "own_data.", "account.", "admin_audit."))


def principal(person: Person) -> Principal:
    return Principal(
        user_id=person.id,
        session_id=uuid4(),
        email=person.email,
        name=person.name,
        role="admin",
        permissions=frozenset({"mail:write"}),
        kind="browser",
        authenticated_at=now(),
        has_second_factor=False,
    )
