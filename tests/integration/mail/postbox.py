"""A real SMTP server in a thread, which keeps what it is given and misbehaves on request."""

import datetime
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"


@dataclass
class Received:
    """A mail as it came over the wire."""

    sender: str
    recipients: list[str]
    content: bytes
    used_utf8: bool
    used_tls: bool

    @property
    def message(self) -> EmailMessage:
        """Taken apart as a reader's program does."""
        return BytesParser(EmailMessage, policy=policy.default).parsebytes(self.content)


@dataclass
class Postbox:
    """`received` in order. `on_recipient` and `on_data` may give another answer than 250."""

    port: int
    received: list[Received] = field(default_factory=list)
    on_recipient: Callable[[str], str | None] = lambda address: None
    on_data: Callable[[Received], str | None] = lambda mail: None
    login: tuple[str, str] | None = None
    certificate: ssl.SSLContext | None = None
    implicit_tls: bool = False
    _controller: Controller | None = None
    _came: threading.Condition = field(default_factory=threading.Condition)

    def open(self) -> None:
        """Begin to listen, on the same port each time."""
        options: dict[str, Any] = {"hostname": HOST, "port": self.port, "ready_timeout": 10}
        if self.certificate is not None and self.implicit_tls:
            options["ssl_context"] = self.certificate
        elif self.certificate is not None:
            options |= {"tls_context": self.certificate, "require_starttls": True}
        if self.login is not None:
            options |= {"authenticator": self._check, "auth_required": True}
        self._controller = Controller(self, enable_SMTPUTF8=True, **options)
        self._controller.start()

    def close(self) -> None:
        """Refuse connections, as a server that is down does."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def hang_up_in(self, seconds: float) -> None:
        """Break the session in progress a little later."""
        controller: Any = self._controller
        controller.loop.call_soon_threadsafe(
            controller.loop.call_later, seconds, controller.smtpd.transport.abort
        )

    def wait_for(self, count: int, *, seconds: float = 10) -> list[Received]:
        """The mails once there are `count`; fails when they do not come in time."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.received) >= count, seconds), self.subjects()
        return self.received

    def subjects(self) -> list[str]:
        """Of every mail, in order."""
        return [str(mail.message["Subject"]) for mail in self.received]

    def copies(self) -> Counter[str]:
        """How often each Message-ID came."""
        return Counter(str(mail.message["Message-ID"]) for mail in self.received)

    def _check(
        self, server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        given = (data.login.decode(), data.password.decode()) if isinstance(data, LoginPassword) else None
        return AuthResult(success=given == self.login, handled=False)

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.on_recipient(address)
        if answer is None:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(  # noqa: N802 - the library's name
        self, server: Any, session: Session, envelope: Envelope
    ) -> str:
        content = envelope.original_content or b""
        mail = Received(
            sender=envelope.mail_from or "",
            recipients=list(envelope.rcpt_tos),
            content=content,
            used_utf8=envelope.smtp_utf8,
            used_tls=session.ssl is not None or self.implicit_tls,
        )
        answer = self.on_data(mail)
        if answer == "drop, unread":
            server.transport.abort()
            return "421 gone"
        if answer is None or answer == "drop":
            with self._came:
                self.received.append(mail)
                self._came.notify_all()
        if answer == "drop":
            server.transport.abort()
        return answer or "250 OK"


def make_certificate(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate that nobody has signed but itself: its file, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    shown, secret = folder / "server.pem", folder / "server.key"
    shown.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, secret)
    return shown, context


@contextmanager
def tarpit(port: int) -> Iterator[None]:
    """A server that sends one byte now and then and never comes to an end."""
    over = threading.Event()

    def drip() -> None:
        with suppress(OSError):
            caller, _ = listener.accept()
            with caller:
                while not over.wait(0.05):
                    caller.send(b"2")

    with socket.create_server((HOST, port)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        yield
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
