"""Ten recovery codes for the day the phone is lost: shown once, kept as keyed digests, each good once (ASVS 6.5.1)."""

import secrets
from datetime import datetime

from sqlalchemy import delete, func, select, update

from models import db
from models.base import now
from models.second_factor import RecoveryCode
from services import token_service

PURPOSE = "recovery-code"
CODES = 10
FEW = 3
# Crockford's alphabet without look-alikes; 16 characters are 80 bits.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
GROUPS = (4, 4, 4, 4)


def make(user_id: int) -> list[str]:
    """Ten new codes, to be shown once; the former ones are worth nothing from now on."""
    forget(user_id)
    codes = ["-".join(_group(length) for length in GROUPS) for _ in range(CODES)]
    db.session.add_all(RecoveryCode(user_id=user_id, code_hash=_digest(user_id, code)) for code in codes)
    return codes


def remaining(user_id: int) -> int:
    """How many are left."""
    return (
        db.session.scalar(
            select(func.count())
            .select_from(RecoveryCode)
            .where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
        )
        or 0
    )


def use(user_id: int, code: str) -> bool:
    """Use a code up; of two at once one wins."""
    used = db.session.scalar(
        update(RecoveryCode)
        .where(
            RecoveryCode.user_id == user_id,
            RecoveryCode.code_hash.in_(token_service.keyed_digests(PURPOSE, _spelled(user_id, code))),
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=now())
        .returning(RecoveryCode.id)
    )
    return used is not None


def forget(user_id: int) -> None:
    """Make every code of an account worthless."""
    db.session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))


def forget_since(user_id: int, moment: datetime) -> int:
    """Make codes worthless that were made from `moment` on; returns 1 where there were such, as they come together."""
    statement = delete(RecoveryCode).where(RecoveryCode.user_id == user_id, RecoveryCode.created_at >= moment)
    return int(bool(db.session.scalars(statement.returning(RecoveryCode.id)).all()))


def _group(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _digest(user_id: int, code: str) -> bytes:
    return token_service.keyed_digest(PURPOSE, _spelled(user_id, code))


def _spelled(user_id: int, code: str) -> str:
    plain = "".join(char for char in code.lower() if char in ALPHABET)
    return f"{user_id}\n{plain}"
