"""What is kept about a person, and what becomes of it: one policy for each table that points at people.

A copy (`copy_of`) holds what is exported, `erase` leaves what is kept. The database does most of the erasing: rows go
with the account (ON DELETE CASCADE) or forget it (SET NULL). Tests hold every table and every column to this page.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, case, delete, func, or_, select

from models import AuditEvent, IdempotencyKey, OutboxMail, User, db
from models.base import AnyRow
from services import audit_service, media_service, picture_removal_service
from services.errors import NotFound
from services.media_stores import SIZES

FORMAT = "portico-export"
VERSION = 1


class Erasure(StrEnum):
    """What becomes of rows when their person's account is deleted."""

    #: They go: with the account by ON DELETE CASCADE, or by `erase`.
    ERASE = "erase"
    #: They stay and forget whose they were: ON DELETE SET NULL.
    ANONYMISE = "anonymise"
    #: They stay as they are, for the reason given.
    KEEP = "keep"


@dataclass(frozen=True)
class Policy:
    """One table: whose rows (`owner`, the columns that name a person), what is exported, and what is erased."""

    owner: tuple[str, ...]
    erasure: Erasure
    exported: tuple[str, ...] = ()
    #: Columns left out of copies → why.
    withheld: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


NOT_TOLD = "A secret, or made from one."
WHY_INNER = "Says nothing about the person."
POLICIES: dict[str, Policy] = {
    "users": Policy(
        owner=("id",),
        erasure=Erasure.ERASE,
        exported=(
            "id",
            "email",
            "name",
            "role",
            "is_active",
            "email_verified",
            "has_second_factor",
            "suspended_at",
            "suspension_reason",
            "suspended_until",
            "frozen_at",
            "last_login_at",
            "deletes_at",
            "picture",
            "created_at",
            "updated_at",
        ),
        withheld={"password_hash": NOT_TOLD},
    ),
    "sessions": Policy(
        owner=("user_id", "impersonator_id"),
        erasure=Erasure.ERASE,
        exported=(
            "kind",
            "device_name",
            "user_agent",
            "ip",
            "created_at",
            "last_seen_at",
            "authenticated_at",
            "expires_at",
        ),
        withheld={
            "id": "Access tokens name it.",
            "token_hash": NOT_TOLD,
            "impersonator_session_id": "Names a session, as the id does.",
            "presented_generation": "Bookkeeping of the refresh tokens, which nobody sees either.",
        },
    ),
    "refresh_tokens": Policy(
        owner=("session_id",), erasure=Erasure.ERASE, reason="Nothing but secrets; the session says the rest."
    ),
    "one_time_tokens": Policy(
        owner=("user_id",),
        erasure=Erasure.ERASE,
        exported=("purpose", "email", "created_at", "expires_at"),
        withheld={
            "id": WHY_INNER,
            "token_hash": NOT_TOLD,
            "code_hash": NOT_TOLD,
            "code_expires_at": WHY_INNER,
            "name": "Whoever entered the address chose it, and that may be somebody else.",
            "password_hash": NOT_TOLD,
            "browser_hash": NOT_TOLD,
            "claimed_at": WHY_INNER,
            "attempts": WHY_INNER,
        },
    ),
    "totp_credentials": Policy(
        owner=("user_id",),
        erasure=Erasure.ERASE,
        exported=("created_at", "confirmed_at"),
        withheld={"seed_encrypted": NOT_TOLD, "last_step": NOT_TOLD},
    ),
    "recovery_codes": Policy(
        owner=("user_id",),
        erasure=Erasure.ERASE,
        exported=("created_at", "used_at"),
        withheld={"id": WHY_INNER, "code_hash": NOT_TOLD},
    ),
    "passkeys": Policy(
        owner=("user_id",),
        erasure=Erasure.ERASE,
        exported=("name", "transports", "is_synced", "created_at", "last_used_at"),
        withheld={
            "id": WHY_INNER,
            "credential_id": "Opens nothing by itself, yet is half of a key.",
            "public_key": WHY_INNER,
            "user_handle": WHY_INNER,
            "sign_count": WHY_INNER,
        },
    ),
    "challenges": Policy(
        owner=("user_id",), erasure=Erasure.ERASE, reason="Steps half done: secrets that live for minutes."
    ),
    "api_keys": Policy(
        owner=("user_id",),
        erasure=Erasure.ERASE,
        exported=("name", "prefix", "scopes", "created_at", "expires_at", "last_used_at"),
        withheld={"id": WHY_INNER, "key_hash": NOT_TOLD},
    ),
    "identities": Policy(
        owner=("user_id",),
        erasure=Erasure.ERASE,
        exported=("issuer", "subject", "email", "created_at", "last_used_at"),
        withheld={"id": WHY_INNER, "public_id": WHY_INNER},
    ),
    "known_devices": Policy(
        owner=("user_id",),
        erasure=Erasure.ERASE,
        exported=("created_at", "last_used_at"),
        withheld={"id": WHY_INNER, "token_hash": NOT_TOLD},
    ),
    "data_exports": Policy(
        owner=("user_id",), erasure=Erasure.ERASE, reason="The copies themselves: they would hold each other."
    ),
    "audit_events": Policy(
        owner=("actor_id", "target_id"),
        erasure=Erasure.KEEP,
        exported=("number", "action", "by_you", "about_you", "ip", "user_agent", "details", "created_at"),
        withheld={"id": WHY_INNER, "request_id": WHY_INNER},
        reason="Who did what must still be answerable after an account is gone; no name or address leads back to it.",
    ),
    "event_numbers": Policy(
        owner=("user_id",),
        erasure=Erasure.ERASE,
        reason="How many events there were; they have their numbers.",
    ),
    "outbox": Policy(
        owner=("to_address",),
        erasure=Erasure.ERASE,
        exported=("kind", "subject", "to_address", "status", "created_at", "sent_at"),
        withheld={
            "id": WHY_INNER,
            "payload_encrypted": "Holds links that open accounts; the person has the mails.",
            "message_id": WHY_INNER,
            "attempts": WHY_INNER,
            "last_error": WHY_INNER,
            "available_at": WHY_INNER,
        },
    ),
    "idempotency_keys": Policy(
        owner=("scope",), erasure=Erasure.ERASE, reason="Answers the person got within a day, kept encrypted."
    ),
}


def copy_of(user: User, *, at: datetime) -> dict[str, Any]:
    """Everything exported about a person, as plain JSON: one list for each table that has any."""
    tables = {
        name: [_plain(row) for row in db.session.execute(_select(name, policy, user)).all()]
        for name, policy in POLICIES.items()
        if policy.exported and name != "users"
    }
    account = _plain(db.session.execute(_select("users", POLICIES["users"], user)).one())
    if user.picture is not None:
        account["picture"] = _picture(user.picture)
    return {
        "format": FORMAT,
        "version": VERSION,
        "made_at": _json(at),
        "account": account,
        **{name: rows for name, rows in tables.items() if rows},
    }


def erase(user: User) -> None:
    """Delete an account and what is its own; what other tables keep is in their policy. May be repeated.

    The files of the picture go afterwards, so that an account need not wait for where they are kept.
    """
    if user.picture is not None:
        picture_removal_service.ask(user.picture)
    db.session.execute(delete(OutboxMail).where(_is_mail_to(user)))
    db.session.execute(delete(IdempotencyKey).where(IdempotencyKey.scope == f"user:{user.id}"))
    db.session.delete(user)
    db.session.flush()  # before the receipt is written, or the mails' deletion would take it along


def _select(name: str, policy: Policy, user: User) -> Select[Any]:
    if name == "audit_events":
        return _select_events(user.id)
    table = db.metadata.tables[name]
    return select(*(table.c[column] for column in policy.exported)).where(_is_theirs(table, policy, user))


def _is_theirs(table: Table, policy: Policy, user: User) -> ColumnElement[bool]:
    if table.name == "outbox":
        return _is_mail_to(user)
    return or_(*(table.c[column] == user.id for column in policy.owner))


def _is_mail_to(user: User) -> ColumnElement[bool]:
    return OutboxMail.to_address == user.email


def _select_events(user_id: int) -> Select[Any]:
    """What the person did and what was done to him. Of what others did, neither who nor from where."""
    about_you = func.coalesce(AuditEvent.target_id == user_id, False)
    own = audit_service.is_source_told(user_id)
    return (
        select(
            # That of what he did to others is theirs.
            case((about_you, AuditEvent.number)).label("number"),
            AuditEvent.action,
            audit_service.is_by(user_id).label("by_you"),
            about_you.label("about_you"),
            case((own, AuditEvent.ip)).label("ip"),
            case((own, AuditEvent.user_agent)).label("user_agent"),
            # What he did to others may hold their names and addresses.
            case((about_you, AuditEvent.details.op("-")(audit_service.IMPERSONATOR))).label("details"),
            AuditEvent.created_at,
        )
        .where(or_(AuditEvent.actor_id == user_id, AuditEvent.target_id == user_id))
        .order_by(AuditEvent.id)
    )


def _picture(name: str) -> str | None:
    """The picture as an address that holds it; None when its file is lost. Raises Unavailable."""
    try:
        file = media_service.read(media_service.file_of(name, max(SIZES)))
    except NotFound:
        return None
    return f"data:image/webp;base64,{base64.b64encode(file).decode()}"


def _plain(row: AnyRow) -> dict[str, Any]:
    return {name: _json(value) for name, value in row._mapping.items()}


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, UUID) else value
