"""From the outbox over a real SMTP server: each mail at least once, none lost, none in another's way (F14–F20)."""

import itertools
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from models import OutboxMail
from models.base import now
from services import crypto, outbox_service, smtp
from services.base_service import unit_of_work
from services.mail_service import send
from tests.integration.mail.postbox import Postbox, Received, make_certificate, tarpit

pytestmark = [pytest.mark.integration, pytest.mark.real_database]

Outbox = Callable[[], list[OutboxMail]]
Write = Callable[..., None]
SetAll = Callable[..., None]


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


def test_a_4xx_waits_and_is_tried_again(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox, set_all: SetAll
) -> None:
    answers = itertools.chain(["451 greylisted"], itertools.repeat(None))
    postbox.on_recipient = lambda address: next(answers)
    write("alice@example.com")
    assert deliver(mail_app) == 1
    (mail,) = outbox()
    assert (mail.status, mail.attempts, mail.last_error) == ("queued", 1, "451 greylisted")
    assert timedelta(seconds=14) < mail.available_at - now() < timedelta(seconds=19)
    assert deliver(mail_app) == 0
    set_all(available_at="now()")
    assert deliver(mail_app) == 1
    assert (outbox()[0].status, outbox()[0].attempts) == ("sent", 2)
    assert len(postbox.received) == 1


def test_a_4xx_after_the_data_waits_too(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox
) -> None:
    postbox.on_data = lambda mail: "452 disk full"
    write("alice@example.com")
    deliver(mail_app)
    assert (outbox()[0].status, outbox()[0].last_error) == ("queued", "452 disk full")


def test_a_421_ends_the_session_and_no_mail(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox
) -> None:
    answers = itertools.chain(["421 too many"], itertools.repeat(None))
    postbox.on_data = lambda mail: next(answers)
    write("alice@example.com", "bob@example.com")
    assert deliver(mail_app) == 2
    assert [mail.status for mail in outbox()] == ["queued", "sent"]


def test_patience_ends_after_48_tries_in_more_than_four_hours(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox, set_all: SetAll
) -> None:
    waits = [outbox_service._wait_seconds(attempt) for attempt in range(1, outbox_service.MOST_ATTEMPTS)]
    assert waits[0] < 20
    assert timedelta(hours=4) < timedelta(seconds=sum(waits)) < timedelta(hours=6)
    postbox.on_recipient = lambda address: "451 greylisted"
    write("alice@example.com")
    set_all(attempts="47")
    deliver(mail_app)
    (mail,) = outbox()
    assert (mail.status, mail.attempts, mail.last_error) == ("failed", 48, "451 greylisted")


def test_a_5xx_is_final_and_in_nobodys_way(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox
) -> None:
    postbox.on_recipient = lambda address: "550 nobody here" if address.startswith("gone") else None
    write("gone@example.com", "alice@example.com")
    assert deliver(mail_app) == 2
    gone, alice = outbox()
    assert (gone.status, gone.attempts, gone.last_error) == ("failed", 1, "550 nobody here")
    assert alice.status == "sent"
    assert deliver(mail_app) == 0


def test_an_address_nobody_can_write_to_is_final(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox, set_all: SetAll
) -> None:
    write("alice@example.com")
    set_all(to_address="E'alice@example.com\\nBcc: mallory@example.com'")
    write("bob@example.com")
    assert deliver(mail_app) == 2
    assert [mail.status for mail in outbox()] == ["failed", "sent"]
    assert [mail.recipients for mail in postbox.received] == [["bob@example.com"]]


def test_server_away_costs_no_try_and_mails_follow_later(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox, set_all: SetAll
) -> None:
    postbox.close()
    write("alice@example.com", "bob@example.com", "charlie@example.com")
    for _ in range(5):
        assert deliver(mail_app) == 0
    mails = outbox()
    assert [mail.status for mail in mails] == ["queued"] * 3
    assert [mail.attempts for mail in mails] == [0, 0, 0]
    assert all(mail.last_error == "the server can't be reached (ConnectionRefusedError)" for mail in mails)
    assert all(mail.available_at - now() < timedelta(seconds=20) for mail in mails)
    postbox.open()
    set_all(available_at="now()")
    assert deliver(mail_app) == 3
    assert sorted(postbox.copies().values()) == [1, 1, 1]


def test_server_away_is_found_out_once_a_round(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox
) -> None:
    postbox.close()
    write("alice@example.com", "bob@example.com")
    assert deliver(mail_app) == 0
    assert [mail.last_error is None for mail in outbox()] == [False, True]


def test_drop_before_the_final_250_gives_one_copy_more(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox, set_all: SetAll
) -> None:
    answers = itertools.chain(["drop"], itertools.repeat(None))
    postbox.on_data = lambda mail: next(answers)
    write("alice@example.com", "bob@example.com")
    assert deliver(mail_app) == 2
    assert outbox()[0].last_error == "the connection broke (SMTPServerDisconnected)"
    set_all(available_at="now()")
    assert deliver(mail_app) == 1
    alice, bob = outbox()
    assert postbox.copies() == {alice.message_id: 2, bob.message_id: 1}
    assert [mail.status for mail in (alice, bob)] == ["sent", "sent"]


def test_server_that_hangs_up_between_mails_is_called_again(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox
) -> None:
    write("alice@example.com", "bob@example.com")

    def hang_up_soon(mail: Received) -> None:
        postbox.on_data = lambda mail: None
        postbox.hang_up_in(0.05)

    postbox.on_data = hang_up_soon
    with mail_app.app_context():
        assert outbox_service.deliver_due(1) == 1
        time.sleep(0.2)
        assert outbox_service.deliver_due() == 1
    assert [mail.status for mail in outbox()] == ["sent", "sent"]


def test_drip_feeding_server_is_left_to_itself(
    mail_app: Flask,
    postbox: Postbox,
    write: Write,
    outbox: Outbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(smtp, "LONGEST_DELIVERY_SECONDS", 0.5)
    postbox.close()
    write("alice@example.com")
    with tarpit(postbox.port):
        began = time.monotonic()
        assert deliver(mail_app) == 0
        assert time.monotonic() - began < 3
    assert outbox()[0].status == "queued"


def test_mail_that_we_stumble_over_is_parked_and_blocks_nobody(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox, set_all: SetAll
) -> None:
    write("alice@example.com")
    set_all(payload_encrypted=f"'{encrypted(mail_app, b'not JSON')}'", attempts="4")
    write("bob@example.com")
    assert deliver(mail_app) == 2
    alice, bob = outbox()
    assert (alice.status, alice.last_error) == ("failed", "a fault of ours (JSONDecodeError)")
    assert bob.status == "sent"


def test_mail_under_a_lost_key_waits_for_it(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox, set_all: SetAll
) -> None:
    key = mail_app.config["FIELD_ENCRYPTION_KEY"]
    write("alice@example.com")
    mail_app.config["FIELD_ENCRYPTION_KEY"] = "bmV3LWtleS1uZXcta2V5LW5ldy1rZXktbmV3LWtleTA="
    assert deliver(mail_app) == 1
    assert outbox()[0].last_error == "FIELD_ENCRYPTION_KEY lacks the key of this mail"
    mail_app.config["FIELD_ENCRYPTION_KEY"] += f",{key}"
    set_all(available_at="now()")
    assert deliver(mail_app) == 1
    assert len(postbox.received) == 1


def test_unusable_sender_is_told_and_waits(
    mail_app: Flask, write: Write, outbox: Outbox, postbox: Postbox
) -> None:
    mail_app.config["MAIL_DEFAULT_SENDER"] = "nobody"
    write("alice@example.com")
    deliver(mail_app)
    assert outbox()[0].status == "queued"
    assert postbox.received == []


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


@pytest.fixture
def guarded(
    mail_app: Flask, postbox: Postbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, object]:
    """The settings, after the server began to ask for a name and a password over TLS."""
    postbox.login = ("portico", "the right one")
    monkeypatch.setenv("SSL_CERT_FILE", str(show_certificate(mail_app, postbox, tmp_path, "localhost")))
    mail_app.config.update(MAIL_SERVER="localhost", MAIL_USERNAME="portico")
    return mail_app.config


def test_sign_in_is_used(mail_app: Flask, guarded: dict[str, object], postbox: Postbox, write: Write) -> None:
    guarded["MAIL_PASSWORD"] = "the right one"
    write("alice@example.com")
    assert deliver(mail_app) == 1
    assert len(postbox.received) == 1


def test_refused_sign_in_is_no_mails_fault(
    mail_app: Flask, guarded: dict[str, object], write: Write, outbox: Outbox
) -> None:
    guarded["MAIL_PASSWORD"] = "a wrong one"
    write("alice@example.com")
    assert deliver(mail_app) == 0
    (mail,) = outbox()
    assert (mail.status, mail.attempts) == ("queued", 0)
    assert str(mail.last_error).startswith("535")
    assert "a wrong one" not in str(mail.last_error)


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "tls"])
def test_mail_travels_encrypted_to_a_trusted_server(
    mail_app: Flask,
    postbox: Postbox,
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    implicit: bool,
) -> None:
    trusted = show_certificate(mail_app, postbox, tmp_path, "localhost", implicit=implicit)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    mail_app.config["MAIL_SERVER"] = "localhost"
    write("alice@example.com")
    assert deliver(mail_app) == 1
    assert postbox.received[0].used_tls


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "tls"])
def test_unknown_certificate_is_refused(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox, tmp_path: Path, implicit: bool
) -> None:
    show_certificate(mail_app, postbox, tmp_path, "localhost", implicit=implicit)
    mail_app.config["MAIL_SERVER"] = "localhost"
    write("alice@example.com")
    assert deliver(mail_app) == 0
    (mail,) = outbox()
    assert mail.status == "queued"
    assert mail.last_error is not None
    assert mail.last_error.startswith("the server's certificate is not trusted: self-signed certificate")
    assert postbox.received == []


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "tls"])
def test_certificate_of_another_host_is_refused(
    mail_app: Flask,
    postbox: Postbox,
    write: Write,
    outbox: Outbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    implicit: bool,
) -> None:
    trusted = show_certificate(mail_app, postbox, tmp_path, "mail.example.net", implicit=implicit)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    mail_app.config["MAIL_SERVER"] = "localhost"
    write("alice@example.com")
    assert deliver(mail_app) == 0
    assert "certificate is not trusted" in str(outbox()[0].last_error)
    assert postbox.received == []


def test_server_without_starttls_gets_nothing(
    mail_app: Flask, postbox: Postbox, write: Write, outbox: Outbox
) -> None:
    mail_app.config["MAIL_USE_TLS"] = True
    write("alice@example.com")
    assert deliver(mail_app) == 0
    assert "STARTTLS" in str(outbox()[0].last_error)
    assert postbox.received == []


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


def deliver(app: Flask) -> int:
    with app.app_context():
        return outbox_service.deliver_due()


def encrypted(app: Flask, plain: bytes) -> str:
    with app.app_context():
        return crypto.encrypt(plain).decode()


def show_certificate(
    app: Flask, postbox: Postbox, folder: Path, name: str, *, implicit: bool = False
) -> Path:
    """Let the server demand TLS with a certificate for `name`; returns the file that makes it trusted."""
    trusted, postbox.certificate = make_certificate(folder, name)
    postbox.implicit_tls = implicit
    postbox.close()
    postbox.open()
    app.config.update(MAIL_USE_TLS=not implicit, MAIL_USE_SSL=implicit)
    return trusted
