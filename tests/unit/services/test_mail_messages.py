"""Messages as they travel: one Subject, one To, no stowaways (security cases A5, A64)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import pytest
from cryptography.fernet import Fernet
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config import PROJECT_ROOT
from services import crypto, mail_service, smtp
from services.schemas.addresses import canonical

pytestmark = pytest.mark.unit

HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
SETTINGS = {
    "APP_NAME": "Portico",
    "BASE_URL": "https://portico.example.com",
    "MAIL_DEFAULT_SENDER": "no-reply@portico.example.com",
}
LETTER: dict[str, Any] = {
    "to": "alice@example.com",
    "subject": "Confirm your address",
    "text": "Hello Alice,\n",
    "html": "<p>Hello Alice,</p>\n",
    "message_id": "<3f2a@portico.example.com>",
    "written_at": datetime(2026, 11, 20, 9, 41, 2, tzinfo=UTC),
}


@pytest.fixture
def mail_app() -> Iterator[Flask]:
    app = Flask("portico", root_path=str(PROJECT_ROOT))
    app.config.update(SETTINGS)
    with app.app_context():
        yield app


def test_message_has_its_headers_and_both_forms(mail_app: Flask) -> None:
    message = received(smtp.Letter(**LETTER))
    assert message["From"] == "Portico <no-reply@portico.example.com>"
    assert message["To"] == "alice@example.com"
    assert message["Subject"] == "Confirm your address"
    assert message["Date"] == "Fri, 20 Nov 2026 09:41:02 +0000"
    assert message["Message-ID"] == "<3f2a@portico.example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"
    text, html = message.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert (text.get_content_charset(), html.get_content_charset()) == ("utf-8", "utf-8")


def test_sender_may_bring_its_own_name(mail_app: Flask) -> None:
    mail_app.config["MAIL_DEFAULT_SENDER"] = "Help <help@portico.example.com>"
    assert received(smtp.Letter(**LETTER))["From"] == "Help <help@portico.example.com>"


@pytest.mark.parametrize("sender", ["", "nobody", "a@b@c"])
def test_unusable_sender_is_no_reason_to_give_a_mail_up(mail_app: Flask, sender: str) -> None:
    mail_app.config["MAIL_DEFAULT_SENDER"] = sender
    with pytest.raises(smtp.Deferred):
        smtp.build(smtp.Letter(**LETTER))


@pytest.mark.parametrize(
    ("address", "as_sent"),
    [
        ("alice@bücher.example", "alice@xn--bcher-kva.example"),
        (
            "alice@faß.example",
            "alice@xn--fa-hia.example",
        ),  # IDNA 2008: not fass.example, which is somebody else's
        ("alice+tag@example.com", "alice+tag@example.com"),
        ("Alice@Example.com", "Alice@example.com"),
        ("дима@пример.example", "дима@xn--e1afmkfd.example"),
    ],
)
def test_domains_travel_in_ascii(mail_app: Flask, address: str, as_sent: str) -> None:
    envelope = smtp.build(smtp.Letter(**LETTER | {"to": address}))
    assert envelope.recipient == as_sent
    assert str(envelope.message["To"]) == as_sent


@pytest.mark.parametrize(
    "address",
    [
        "",
        "alice",
        "alice@example.com,mallory@example.com",
        "alice@example.com mallory@example.com",
        "alice@example.com\r\nBcc: mallory@example.com",
        "alice@example.com\n",
        "Alice <alice@example.com>",
        "<alice@example.com>",
        "alice@example.com\x00",
        "alice@example.com\u2028",
        "alice@[127.0.0.1]",
        '"a b"@example.com',
    ],
)
def test_anything_but_one_address_is_refused(mail_app: Flask, address: str) -> None:
    with pytest.raises(smtp.Refused):
        smtp.build(smtp.Letter(**LETTER | {"to": address}))


@pytest.mark.parametrize("field", ["subject", "message_id"])
@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\x00"])
def test_line_break_in_a_header_is_refused(mail_app: Flask, field: str, break_: str) -> None:
    with pytest.raises(smtp.Refused):
        smtp.build(smtp.Letter(**LETTER | {field: f"x{break_}Bcc: mallory@example.com"}))


def test_long_and_foreign_lines_survive_the_way(mail_app: Flask) -> None:
    text = "Grüße, 你好, 🙂 " * 400 + "\n.\nFrom the start of a line\n"
    message = received(smtp.Letter(**LETTER | {"text": text, "subject": "Grüße " * 60}))
    part = message.get_body(("plain",))
    assert part is not None
    assert part.get_content().replace("\r\n", "\n") == text
    assert message["Subject"].split() == ["Grüße"] * 60


@pytest.mark.parametrize(
    "to",
    [
        "=?utf-8?q?mallory=40example.org=2C?=@example.com",
        "=?utf-8?q?x?=@example.com",
        "a=?utf-8?q?x?=b@example.com",
        "alice@example.com, mallory@example.org",
        "Alice <alice@example.com>",
        "alice@example.com\r\nBcc: mallory@example.org",
        '"alice@example.com,"@example.com',
        "a\u037eb@example.com",
    ],
)
def test_an_address_that_rewrites_a_header_is_refused(mail_app: Flask, to: str) -> None:
    with pytest.raises(smtp.Refused):
        smtp.build(smtp.Letter(**LETTER | {"to": to}))


def test_an_address_that_mail_programs_read_otherwise_is_refused(
    mail_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the check at the door lets through one day: the message as it travels has the last word."""
    odd = "=?utf-8?q?mallory=40example.org=2C?=@example.com"
    monkeypatch.setattr(smtp, "_deliverable", lambda address: address)
    with pytest.raises(smtp.Refused, match="read another address"):
        smtp.build(smtp.Letter(**LETTER | {"to": odd}))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(local=st.text(st.characters(min_codepoint=33, exclude_categories=["Cs"]), min_size=1, max_size=90))
def test_every_address_that_is_taken_is_the_one_in_the_message(mail_app: Flask, local: str) -> None:
    try:
        address = canonical(f"{local}@example.com")
    except ValueError:
        return
    envelope = smtp.build(smtp.Letter(**LETTER | {"to": address}))
    assert (
        [found.addr_spec for found in envelope.message["To"].addresses] == [envelope.recipient] == [address]
    )


def test_message_id_of_a_long_host_stays_whole(mail_app: Flask) -> None:
    message_id = f"<{'0' * 36}@{'a-rather-long-label.' * 5}example.com>"
    assert received(smtp.Letter(**LETTER | {"message_id": message_id}))["Message-ID"] == message_id


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(max_size=200), reason=st.text(max_size=400), app_name=st.text(min_size=1, max_size=80))
def test_no_value_reaches_the_headers_raw(mail_app: Flask, name: str, reason: str, app_name: str) -> None:
    mail_app.config["APP_NAME"] = app_name
    mail = mail_service.render("suspended", to="alice@example.com", name=name, reason=reason, until=None)
    assert not any(ord(char) < 32 and char != "\n" for char in mail.text)
    assert not any(ord(char) < 32 and char != "\n" for char in mail.html)
    mail_app.config["APP_NAME"] = "Portico"  # the operator's own word; it can't hold line breaks
    letter = smtp.Letter(**LETTER | {"subject": mail.subject, "text": mail.text, "html": mail.html})
    raw = smtp.build(letter).message.as_bytes()
    head = raw.partition(b"\r\n\r\n")[0]
    assert all(byte in b"\r\n\t" or 32 <= byte < 127 for byte in head)
    assert parsed(raw).keys() == HEADERS


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(subject=st.text(max_size=300))
def test_no_subject_makes_a_header(mail_app: Flask, subject: str) -> None:
    try:
        raw = smtp.build(smtp.Letter(**LETTER | {"subject": subject})).message.as_bytes()
    except smtp.Refused:
        return
    message = parsed(raw)
    assert message.keys() == HEADERS
    head = raw.partition(b"\r\n\r\n")[0]
    assert all(byte in b"\r\n\t" or 32 <= byte < 127 for byte in head)


def test_what_an_older_key_encrypted_is_read(mail_app: Flask) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    mail_app.config["FIELD_ENCRYPTION_KEY"] = old
    encrypted = crypto.encrypt(b"a link")
    mail_app.config["FIELD_ENCRYPTION_KEY"] = f"{new}, {old}"
    assert crypto.decrypt(encrypted) == b"a link"
    assert b"a link" not in encrypted
    assert Fernet(new).decrypt(crypto.encrypt(b"another")) == b"another"


def test_what_a_lost_key_encrypted_is_not(mail_app: Flask) -> None:
    mail_app.config["FIELD_ENCRYPTION_KEY"] = Fernet.generate_key().decode()
    encrypted = crypto.encrypt(b"a link")
    mail_app.config["FIELD_ENCRYPTION_KEY"] = Fernet.generate_key().decode()
    with pytest.raises(crypto.Undecipherable):
        crypto.decrypt(encrypted)


def received(letter: smtp.Letter) -> EmailMessage:
    """The letter as its reader's program takes it apart."""
    return parsed(smtp.build(letter).message.as_bytes())


def parsed(raw: bytes) -> EmailMessage:
    return BytesParser(EmailMessage, policy=policy.default).parsebytes(raw)
