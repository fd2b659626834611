"""Names, passwords and certificates: to whom a mail is given, and to whom it is not."""

from pathlib import Path

import pytest
from flask import Flask

from tests.integration.mail.desk import Outbox, Write, deliver
from tests.integration.mail.postbox import Postbox, make_certificate

pytestmark = [pytest.mark.integration, pytest.mark.real_database]


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
