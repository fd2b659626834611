"""Answers kept for callers that repeat a request: one effect and one answer for each Idempotency-Key, for a day."""

from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from models import IdempotencyKey, db
from models.base import now
from services import crypto
from services.errors import IdempotencyMismatch

LIFE = timedelta(hours=24)


def claim(scope: str, key: str, digest: bytes) -> bytes | None:
    """The first answer to this key, or None when the caller is the first and has to `keep` his.

    Of several at once one goes on and the others wait for its commit. Raises IdempotencyMismatch for another request.
    """
    db.session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.scope == scope, IdempotencyKey.key == key, IdempotencyKey.created_at < now() - LIFE
        )
    )
    claimed = db.session.execute(
        insert(IdempotencyKey)
        .values(scope=scope, key=key, request_digest=digest)
        .on_conflict_do_nothing()
        .returning(IdempotencyKey.key)
    ).first()
    if claimed:
        return None
    row = db.session.execute(
        select(IdempotencyKey.request_digest, IdempotencyKey.answer_encrypted).where(
            IdempotencyKey.scope == scope, IdempotencyKey.key == key
        )
    ).one()
    if row.request_digest != digest or row.answer_encrypted is None:
        raise IdempotencyMismatch
    return crypto.decrypt(row.answer_encrypted)


def keep(scope: str, key: str, answer: bytes) -> None:
    """Keep the answer, encrypted, in the same transaction as what it tells."""
    db.session.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.scope == scope, IdempotencyKey.key == key)
        .values(answer_encrypted=crypto.encrypt(answer))
    )


def release(scope: str, key: str) -> None:
    """Give the key back after a refusal that keeps its changes: the next try is a first one."""
    db.session.execute(delete(IdempotencyKey).where(IdempotencyKey.scope == scope, IdempotencyKey.key == key))


def purge() -> int:
    """Delete answers older than a day; returns how many."""
    statement = delete(IdempotencyKey).where(IdempotencyKey.created_at < now() - LIFE)
    return len(db.session.scalars(statement.returning(IdempotencyKey.key)).all())
