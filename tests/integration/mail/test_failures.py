"""What goes wrong while mails are sent: which wait, which are given up, and none is in another's way (F14–F17, F20)."""

import itertools
import time
from datetime import timedelta

import pytest
from flask import Flask

from models.base import now
from services import crypto, outbox_service, smtp
from tests.integration.mail.desk import Outbox, SetAll, Write, deliver
from tests.integration.mail.postbox import Postbox, Received, tarpit

pytestmark = [pytest.mark.integration, pytest.mark.real_database]


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


def encrypted(app: Flask, plain: bytes) -> str:
    with app.app_context():
        return crypto.encrypt(plain).decode()
