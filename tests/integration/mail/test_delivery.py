"""From the outbox over a real SMTP server: each mail arrives once, as it was written (F18, F19)."""

import threading

import pytest
from flask import Flask

from services import outbox_service
from services.base_service import unit_of_work
from services.mail_service import send
from tests.integration.mail.desk import Outbox, SetAll, Write, deliver
from tests.integration.mail.postbox import Postbox, Received

pytestmark = [pytest.mark.integration, pytest.mark.real_database]


def test_mail_arrives_as_it_was_written(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox
) -> None:
    write("alice@example.com")
    assert deliver(mail_app) == 1
    (received,) = postbox.received
    (mail,) = outbox()
    message = received.message
    assert (received.sender, received.recipients) == ("no-reply@portico.example.com", ["alice@example.com"])
    assert message["From"] == "Portico <no-reply@portico.example.com>"
    assert message["To"] == "alice@example.com"
    assert message["Subject"] == "You already have an account"
    assert message["Message-ID"] == mail.message_id
    assert message["Date"].datetime == mail.created_at.replace(microsecond=0)
    text, html = (part.get_content() for part in message.iter_parts())
    assert "https://portico.example.com/auth/login" in text
    assert 'href="https://portico.example.com/auth/login"' in html
    assert (mail.status, mail.attempts, mail.last_error) == ("sent", 1, None)
    assert mail.sent_at is not None
    assert deliver(mail_app) == 0


def test_many_mails_take_one_session(mail_app: Flask, postbox: Postbox, write: Write) -> None:
    write(*(f"reader{number}@example.com" for number in range(25)))
    assert deliver(mail_app) == 20
    assert deliver(mail_app) == 5
    assert set(postbox.copies().values()) == {1}
    assert len(postbox.received) == 25


def test_mails_leave_in_the_order_they_became_due(mail_app: Flask, postbox: Postbox, write: Write) -> None:
    write("alice@example.com", "bob@example.com", "charlie@example.com")
    deliver(mail_app)
    assert [mail.recipients[0][0] for mail in postbox.received] == ["a", "b", "c"]


def test_two_workers_send_each_mail_once(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox
) -> None:
    write(*(f"reader{number}@example.com" for number in range(30)))
    counts: list[int] = []

    def work() -> None:
        while count := deliver(mail_app):
            counts.append(count)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert sum(counts) == 30
    assert len(postbox.copies()) == 30
    assert set(postbox.copies().values()) == {1}
    assert {mail.attempts for mail in outbox()} == {1}


def test_mail_in_hand_is_not_taken_by_another(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox
) -> None:
    others: list[int] = []

    def meanwhile(mail: Received) -> None:
        finder = threading.Thread(target=lambda: others.append(deliver(mail_app)))
        finder.start()
        finder.join(10)

    postbox.on_data = meanwhile
    write("alice@example.com")
    assert deliver(mail_app) == 1
    assert others == [0]
    assert len(postbox.received) == 1


def test_worker_that_lost_its_lease_still_notes_what_was_sent(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox, set_all: SetAll
) -> None:
    postbox.on_data = lambda mail: set_all(available_at="now() + interval '1 hour'")
    write("alice@example.com")
    deliver(mail_app)
    assert outbox()[0].status == "sent"


def test_worker_that_lost_its_lease_notes_no_failure(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox, set_all: SetAll
) -> None:
    def slow_refusal(mail: Received) -> str:
        set_all(status="'sent'", sent_at="now()")
        return "550 too late"

    postbox.on_data = slow_refusal
    write("alice@example.com")
    deliver(mail_app)
    assert outbox()[0].status == "sent"


def test_stopping_ends_between_two_mails(mail_app: Flask, postbox: Postbox, write: Write) -> None:
    write("alice@example.com", "bob@example.com")
    with mail_app.app_context():
        assert outbox_service.deliver_due(stopping=lambda: bool(postbox.received)) == 1
    assert len(postbox.received) == 1


def test_foreign_domain_travels_in_ascii(mail_app: Flask, postbox: Postbox, write: Write) -> None:
    write("alice@bücher.example")
    assert deliver(mail_app) == 1
    assert postbox.received[0].recipients == ["alice@xn--bcher-kva.example"]
    assert not postbox.received[0].used_utf8


def test_foreign_local_part_travels_in_utf8(mail_app: Flask, postbox: Postbox, write: Write) -> None:
    write("дима@пример.example")
    assert deliver(mail_app) == 1
    assert postbox.received[0].recipients == ["дима@xn--e1afmkfd.example"]
    assert postbox.received[0].used_utf8
    assert postbox.received[0].message["To"] == "дима@xn--e1afmkfd.example"


def test_hostile_values_add_no_header(mail_app: Flask, postbox: Postbox) -> None:
    attack = "x\r\nBcc: mallory@example.com\r\nSubject: You won\r\n\r\nbody\u2028\x00"
    with mail_app.app_context(), unit_of_work():
        send("suspended", to="alice@example.com", name=attack, reason=attack, until=None)
    assert deliver(mail_app) == 1
    message = postbox.received[0].message
    assert message.get_all("Subject") == ["Your account is suspended"]
    assert message.get_all("To") == ["alice@example.com"]
    assert message.get_all("Bcc") is None
    assert postbox.received[0].recipients == ["alice@example.com"]
