"""The outside client of mail: builds a message and hands it to the SMTP server (RFC 5321, 5322, 6531, 3207).

Each failure is one of three facts: the server is away (no mail's fault), this mail must wait, it is refused.
"""

import re
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import HeaderParser
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr
from threading import Timer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email
from flask import current_app

from services.schemas.addresses import ENCODED_WORD

# However slowly a server drips its answers, one mail ends after this. Shorter than the outbox's lease.
LONGEST_DELIVERY_SECONDS = 60

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Undelivered(Exception):
    """A mail that was not handed over; the text says why, without the mail's content."""


class ServerAway(Undelivered):
    """No session with the server: it can't be reached, its certificate is wrong, it refuses our sign-in."""


class Deferred(Undelivered):
    """The server may take this mail later: a 4xx answer, or the connection broke in the middle."""


class Refused(Undelivered):
    """The server will never take this mail: a 5xx answer for it, or an address that can't be written to."""


@dataclass(frozen=True, slots=True)
class Server:
    """How to reach the SMTP server."""

    host: str
    port: int
    starttls: bool
    implicit_tls: bool
    username: str
    password: str
    timeout_seconds: float
    own_name: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail ready to be built into a message. `message_id` and `written_at` stay the same on each try."""

    to: str
    subject: str
    text: str
    html: str
    message_id: str
    written_at: datetime


def server() -> Server | None:
    """The server of the configuration; None when MAIL_SERVER is not set."""
    config = current_app.config
    if not config["MAIL_SERVER"]:
        return None
    return Server(
        host=config["MAIL_SERVER"],
        port=config["MAIL_PORT"],
        starttls=config["MAIL_USE_TLS"],
        implicit_tls=config["MAIL_USE_SSL"],
        username=config["MAIL_USERNAME"],
        password=config["MAIL_PASSWORD"],
        timeout_seconds=config["MAIL_TIMEOUT_SECONDS"],
        own_name=urlsplit(config["BASE_URL"]).hostname or "localhost",
    )


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message with the two addresses it travels under."""

    sender: str
    recipient: str
    message: EmailMessage


def build(letter: Letter) -> Envelope:
    """The message as it travels. Raises Refused for an address that can't be written to, or that rewrites headers."""
    sender, recipient = _sender(), _deliverable(letter.to)
    if _CONTROL.search(letter.subject + letter.message_id):
        raise Refused("a header holds control characters")
    message = EmailMessage(policy=SMTP if recipient.isascii() else SMTPUTF8)
    try:
        message["From"] = sender
        message["To"] = Address("", *recipient.rsplit("@", 1))
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(letter.written_at)
        message["Message-ID"] = letter.message_id
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday answers, please
        is_read_alike = _addressees(message) == [recipient]
    except (MessageError, ValueError) as error:
        raise Refused(f"the message can't be built ({type(error).__name__})") from error
    if not is_read_alike:
        raise Refused("mail programs would read another address")
    message.set_content(letter.text)
    message.add_alternative(letter.html, subtype="html")
    return Envelope(sender.addr_spec, recipient, message)


class Connection:
    """A session with the server: opened by the first mail, kept for the next, opened anew if it broke."""

    def __init__(self, to: Server) -> None:
        self._server = to
        self._client: smtplib.SMTP | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def deliver(self, letter: Letter) -> None:
        """Hand `letter` over; when this returns the server has taken it. Raises an Undelivered."""
        envelope = build(letter)
        client = self._alive() or self._open()
        try:
            with _deadline(client):
                client.send_message(envelope.message, envelope.sender, [envelope.recipient])
        except smtplib.SMTPRecipientsRefused as error:
            code, answer = next(iter(error.recipients.values()))
            raise self._verdict(code, answer) from error
        except smtplib.SMTPSenderRefused as error:
            # This is about our configuration rather than about this mail: no reason to give it up at once.
            self.close()
            raise Deferred(f"the sender was refused: {_words(error.smtp_code, error.smtp_error)}") from error
        except smtplib.SMTPResponseException as error:
            raise self._verdict(error.smtp_code, error.smtp_error) from error
        except smtplib.SMTPNotSupportedError as error:
            raise Refused("the server takes no addresses beyond ASCII") from error
        except (smtplib.SMTPException, OSError) as error:
            self.close()
            raise Deferred(f"the connection broke ({type(error).__name__})") from error

    def greet(self) -> None:
        """Open the session without a mail, to learn whether the server takes us. Raises ServerAway."""
        if self._alive() is None:
            self._open()

    def close(self) -> None:
        """End the session, politely if the server still listens."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            with _deadline(client):
                client.quit()
        except (smtplib.SMTPException, OSError):
            client.close()

    def _alive(self) -> smtplib.SMTP | None:
        """The client, if the server still answers: some hang up after a while, or after some mails."""
        client = self._client
        if client is None:
            return None
        try:
            with _deadline(client):
                answers = client.noop()[0] == 250
        except (smtplib.SMTPException, OSError):
            answers = False
        if not answers:
            self.close()
        return self._client

    def _verdict(self, code: int, answer: bytes | str) -> Undelivered:
        if code == 421:  # the server is closing the session
            self.close()
        return Refused(_words(code, answer)) if code >= 500 else Deferred(_words(code, answer))

    def _open(self) -> smtplib.SMTP:
        server = self._server
        context = ssl.create_default_context()
        client: smtplib.SMTP
        if server.implicit_tls:
            client = smtplib.SMTP_SSL(
                local_hostname=server.own_name, timeout=server.timeout_seconds, context=context
            )
        else:
            client = smtplib.SMTP(local_hostname=server.own_name, timeout=server.timeout_seconds)
        try:
            with _deadline(client):
                self._greet(client, context)
        except smtplib.SMTPResponseException as error:
            client.close()
            raise ServerAway(_words(error.smtp_code, error.smtp_error)) from error
        except (smtplib.SMTPException, OSError) as error:
            client.close()
            raise ServerAway(_reason(error)) from error
        self._client = client
        return client

    def _greet(self, client: smtplib.SMTP, context: ssl.SSLContext) -> None:
        server = self._server
        client._host = server.host  # type: ignore[attr-defined]  # smtplib checks the certificate against this
        code, answer = client.connect(server.host, server.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, answer)
        client.ehlo_or_helo_if_needed()
        if server.starttls:
            client.starttls(context=context)  # raises where the server offers none: never in the clear
            client.ehlo_or_helo_if_needed()
        if server.username:
            client.login(server.username, server.password)


def _addressees(message: EmailMessage) -> list[str]:
    """Whom a mail program sees in the head as it travels: it decodes what an address may hold too (RFC 2047)."""
    head = HeaderParser(policy=message.policy).parsestr(message.as_bytes().decode())
    if head.keys() != message.keys():
        return []
    return [address.addr_spec for address in head["To"].addresses]


def _sender() -> Address:
    """MAIL_DEFAULT_SENDER, under its own display name or the product's. Raises Deferred: it can be mended."""
    config = current_app.config
    name, address = parseaddr(config["MAIL_DEFAULT_SENDER"])
    try:
        return Address(display_name=name or config["APP_NAME"], addr_spec=_in_ascii(address))
    except (EmailNotValidError, MessageError, ValueError) as error:
        raise Deferred("MAIL_DEFAULT_SENDER is not an address that mail can come from") from error


def _deliverable(address: str) -> str:
    """The one address in `address`. Raises Refused for anything else."""
    if ENCODED_WORD in address:
        raise Refused("mail programs would read another address")
    try:
        return _in_ascii(address)
    except EmailNotValidError as error:
        raise Refused("this is not an e-mail address") from error


def _in_ascii(address: str) -> str:
    """The address with its domain in ASCII (IDNA 2008); its local part may stay beyond (SMTPUTF8)."""
    checked = validate_email(address, check_deliverability=False, globally_deliverable=False)
    return checked.ascii_email or f"{checked.local_part}@{checked.ascii_domain}"


def ascii_domain(address: str) -> str:
    """The domain of an address as the network spells it (IDNA 2008); as it is when it can't be spelled so."""
    try:
        return _in_ascii(address).rpartition("@")[2]
    except EmailNotValidError:
        return address.rpartition("@")[2]


@contextmanager
def _deadline(client: smtplib.SMTP) -> Iterator[None]:
    """Hang up when the block takes too long: a timeout counts anew at each byte a dripping server sends."""
    timer = Timer(LONGEST_DELIVERY_SECONDS, _hang_up, [client])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _hang_up(client: smtplib.SMTP) -> None:
    if client.sock is not None:
        # The plain socket's method: TLS' own would want to say goodbye to a server that does not listen.
        socket.socket.shutdown(client.sock, socket.SHUT_RDWR)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "the server does not offer what the configuration requires (STARTTLS or sign-in)"
    return f"the server can't be reached ({type(error).__name__})"


def _words(code: int, answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return f"{code} {' '.join(text.split())}"[:300]
