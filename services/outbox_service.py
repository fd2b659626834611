"""The outbox: mails leave it at least once, under the same Message-ID, in the order they became due.

A mail is leased in a transaction of its own before it is sent, so none stays open while the server is spoken
to. Whoever dies in between lets the lease run out, and the mail is sent again. The database's clock counts:
several workers may share a queue.
"""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Text, Update, cast, delete, func, select, update
from sqlalchemy.exc import OperationalError

from models import OutboxMail, db
from models.base import AnyRow, AnySelect
from models.enums import MailStatus
from services import audit_service, crypto, smtp
from services.base_service import PURGE_BATCH, found, unit_of_work
from services.errors import Conflict
from services.mail_service import CHANNEL
from services.paging import Listing, page_of
from services.principal import Principal
from services.schemas.outbox import MailboxMail, OutboxQuery, OutboxStats

log = structlog.get_logger(__name__)

_dice = random.SystemRandom()

#: Longer than the longest delivery, so that no second worker takes a mail that is being sent.
LEASE = timedelta(seconds=smtp.LONGEST_DELIVERY_SECONDS + 40)
FIRST_WAIT_SECONDS = 15
LONGEST_WAIT_SECONDS = 360
AWAY_SECONDS = (10, 20)
#: With these waits the last try is more than four hours after the first.
MOST_ATTEMPTS = 48
#: A mail that our own code stumbles over does so again; patience is for servers.
MOST_ATTEMPTS_OF_A_FAULT = 5
KEEP = timedelta(days=30)
MAILBOX_LENGTH = 200
LOST_DATABASE_PAUSES = (0.2, 0.5, 1, 2, 4, 8, 8)

COLUMNS: tuple[Any, ...] = (
    OutboxMail.id,
    OutboxMail.kind,
    OutboxMail.to_address,
    OutboxMail.subject,
    OutboxMail.status,
    OutboxMail.attempts,
    OutboxMail.last_error,
    OutboxMail.created_at,
    OutboxMail.available_at,
    OutboxMail.sent_at,
)
_ALL: AnySelect = select(*COLUMNS)
#: The id as text: a cursor holds plain JSON.
_KEY = cast(OutboxMail.id, Text)


class MailStillQueued(Conflict):
    """409: the mail is on its way already."""

    default_message = "This mail still waits to be sent. It is tried again by itself."


@dataclass(frozen=True, slots=True)
class _Lease:
    """A mail that is ours to send until `until`; `attempt` counts from 1."""

    id: UUID
    kind: str
    to_address: str
    subject: str
    payload_encrypted: bytes
    message_id: str
    created_at: datetime
    attempt: int
    until: datetime


def deliver_due(limit: int = 20, *, stopping: Callable[[], bool] = lambda: False) -> int:
    """Send the mails that are due, one after the other; returns how many were dealt with.

    0 means that nothing is due or the server is away. Without MAIL_SERVER mails are kept for the development
    mailbox. For workers and commands: commits as it goes.
    """
    server = smtp.server()
    if server is None:
        return _keep_in_mailbox(limit)
    handled = 0
    with smtp.Connection(server) as connection:
        while handled < limit and not stopping():
            lease = _lease_next()
            if lease is None or not _deliver(lease, connection):
                break
            handled += 1
    return handled


def page(query: OutboxQuery) -> Listing:
    """Mails, newest first, without their content."""
    statement = _ALL.where(OutboxMail.status == query.status) if query.status else _ALL
    return page_of(statement, query, sorts={"created_at": OutboxMail.created_at}, key=_KEY)


def get(mail_id: UUID) -> AnyRow:
    """One mail without its content. Raises NotFound."""
    return found(db.session.execute(select(*COLUMNS).where(OutboxMail.id == mail_id)).first())


def resend(mail_id: UUID, *, by: Principal | None) -> None:
    """Queue a mail that was sent or given up once more, as it was. Raises NotFound or MailStillQueued.

    `by` is None for the command line.
    """
    queued = db.session.scalar(
        update(OutboxMail)
        .where(OutboxMail.id == mail_id, OutboxMail.status != MailStatus.QUEUED)
        .values(status=MailStatus.QUEUED, attempts=0, available_at=func.now(), sent_at=None, last_error=None)
        .returning(OutboxMail.kind)
    )
    if queued is None:
        get(mail_id)
        raise MailStillQueued
    audit_service.record(
        "mail:resend", actor_id=by.user_id if by else None, mail_id=str(mail_id), kind=queued
    )
    db.session.execute(select(func.pg_notify(CHANNEL, "")))


def mailbox() -> list[MailboxMail]:
    """The newest 200 mails with their content, newest first: for the development mailbox alone."""
    rows = db.session.scalars(
        select(OutboxMail).order_by(OutboxMail.created_at.desc(), OutboxMail.id).limit(MAILBOX_LENGTH)
    )
    return [_opened(row) for row in rows]


def mailbox_mail(mail_id: UUID) -> MailboxMail:
    """One mail with its content, for the development mailbox alone. Raises NotFound."""
    return _opened(found(db.session.get(OutboxMail, mail_id)))


def stats() -> OutboxStats:
    """How many mails wait, since when the oldest does, and how many were given up. One statement."""
    queued, failed = OutboxMail.status == MailStatus.QUEUED, OutboxMail.status == MailStatus.FAILED
    row = db.session.execute(
        select(
            func.count().filter(queued).label("queued"),
            func.count().filter(failed).label("failed"),
            func.min(OutboxMail.created_at).filter(queued).label("oldest_queued_at"),
        ).where(queued | failed)
    ).one()
    return OutboxStats.model_validate(row)


def purge() -> int:
    """Delete mails that were sent or given up 30 days ago; returns how many. At most 5,000 at a time."""
    old = (
        select(OutboxMail.id)
        .where(OutboxMail.status != MailStatus.QUEUED, OutboxMail.created_at < func.now() - KEEP)
        .limit(PURGE_BATCH)
    )
    return len(
        db.session.scalars(delete(OutboxMail).where(OutboxMail.id.in_(old)).returning(OutboxMail.id)).all()
    )


def _lease_next() -> _Lease | None:
    """Take the mail that is due longest, in a transaction of its own.

    The try counts from here: a mail that kills its worker must not kill workers for ever.
    """
    due = (
        select(OutboxMail.id)
        .where(OutboxMail.status == MailStatus.QUEUED, OutboxMail.available_at <= func.now())
        .order_by(OutboxMail.available_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    with unit_of_work():
        row = db.session.execute(
            update(OutboxMail)
            .where(OutboxMail.id == due)
            .values(attempts=OutboxMail.attempts + 1, available_at=func.now() + LEASE)
            .returning(
                OutboxMail.id,
                OutboxMail.kind,
                OutboxMail.to_address,
                OutboxMail.subject,
                OutboxMail.payload_encrypted,
                OutboxMail.message_id,
                OutboxMail.created_at,
                OutboxMail.attempts,
                OutboxMail.available_at,
            )
        ).first()
    return _Lease(*row) if row else None


def _deliver(lease: _Lease, connection: smtp.Connection) -> bool:
    """Send one mail and note what came of it; False when the server is away, for all of them."""
    try:
        connection.deliver(_letter(lease))
    except smtp.ServerAway as error:
        _put_back(lease, str(error))
        return False
    except smtp.Deferred as error:
        _postpone(lease, str(error), most_attempts=MOST_ATTEMPTS)
    except smtp.Refused as error:
        _give_up(lease, str(error))
    except crypto.Undecipherable:
        _postpone(lease, "FIELD_ENCRYPTION_KEY lacks the key of this mail", most_attempts=MOST_ATTEMPTS)
    except Exception as error:  # one mail, whatever is wrong with it, must not stop the queue
        log.exception("mail_faulty", mail_id=str(lease.id), kind=lease.kind)
        _postpone(lease, f"a fault of ours ({type(error).__name__})", most_attempts=MOST_ATTEMPTS_OF_A_FAULT)
    else:
        _note_sent(lease)
    return True


def _letter(lease: _Lease) -> smtp.Letter:
    payload = json.loads(crypto.decrypt(lease.payload_encrypted))
    return smtp.Letter(
        to=lease.to_address,
        subject=lease.subject,
        text=payload["text"],
        html=payload["html"],
        message_id=lease.message_id,
        written_at=lease.created_at,
    )


def _note_sent(lease: _Lease) -> None:
    # Sent is sent, also if the lease ran out meanwhile: this spares the reader a second copy.
    _settle(
        update(OutboxMail)
        .where(OutboxMail.id == lease.id, OutboxMail.status == MailStatus.QUEUED)
        .values(status=MailStatus.SENT, sent_at=func.now(), last_error=None)
    )
    log.info("mail_sent", mail_id=str(lease.id), kind=lease.kind, attempt=lease.attempt)


def _put_back(lease: _Lease, reason: str) -> None:
    """The server is away: no try of this mail, however long it lasts. Another one is the next to find out."""
    _settle(
        _ours(lease).values(
            attempts=lease.attempt - 1,
            available_at=_in_seconds(_dice.uniform(*AWAY_SECONDS)),
            last_error=reason,
        )
    )
    log.warning("mail_server_away", reason=reason)


def _postpone(lease: _Lease, reason: str, *, most_attempts: int) -> None:
    if lease.attempt >= most_attempts:
        _give_up(lease, reason)
        return
    wait = _wait_seconds(lease.attempt)
    _settle(_ours(lease).values(available_at=_in_seconds(wait), last_error=reason))
    log.warning(
        "mail_deferred",
        mail_id=str(lease.id),
        kind=lease.kind,
        attempt=lease.attempt,
        wait_seconds=round(wait),
    )


def _give_up(lease: _Lease, reason: str) -> None:
    _settle(_ours(lease).values(status=MailStatus.FAILED, last_error=reason))
    log.error("mail_failed", mail_id=str(lease.id), kind=lease.kind, attempt=lease.attempt)


def _ours(lease: _Lease) -> Update:
    """Only while the lease is ours: otherwise another worker has the say."""
    return update(OutboxMail).where(
        OutboxMail.id == lease.id,
        OutboxMail.status == MailStatus.QUEUED,
        OutboxMail.available_at == lease.until,
    )


def _settle(statement: Update) -> None:
    """Write down what came of a mail, through a database restart too: forgetting would send it twice."""
    for pause in LOST_DATABASE_PAUSES:
        try:
            with unit_of_work():
                db.session.execute(statement)
        except OperationalError:
            time.sleep(pause)
        else:
            return
    with unit_of_work():
        db.session.execute(statement)


def _keep_in_mailbox(limit: int) -> int:
    due = (
        select(OutboxMail.id)
        .where(OutboxMail.status == MailStatus.QUEUED, OutboxMail.available_at <= func.now())
        .order_by(OutboxMail.available_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    with unit_of_work():
        kept = db.session.scalars(
            update(OutboxMail)
            .where(OutboxMail.id.in_(due))
            .values(status=MailStatus.SENT, sent_at=func.now(), attempts=OutboxMail.attempts + 1)
            .returning(OutboxMail.id)
        ).all()
    return len(kept)


def _wait_seconds(attempt: int) -> float:
    """15 s, 30 s, 1 min, 2, 4, then every 6 min; each up to a fifth longer, so that mails spread."""
    wait = min(FIRST_WAIT_SECONDS << (attempt - 1), LONGEST_WAIT_SECONDS)
    return wait * _dice.uniform(1, 1.2)


def _in_seconds(seconds: float) -> ColumnElement[datetime]:
    return func.now() + timedelta(seconds=seconds)


def _opened(row: OutboxMail) -> MailboxMail:
    try:
        payload = json.loads(crypto.decrypt(row.payload_encrypted))
    except crypto.Undecipherable:
        gone = "This mail was encrypted under a key that is gone."
        payload = {"text": gone, "html": gone}
    return MailboxMail(
        id=row.id,
        to=row.to_address,
        subject=row.subject,
        text=payload["text"],
        html=payload["html"],
        created_at=row.created_at,
    )
