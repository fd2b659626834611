"""Steps half done: a token for the asking client, a row for us, good once and for minutes (ASVS 6.6.2, 6.7.2)."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select

from models import db
from models.base import now
from models.enums import ChallengePurpose
from models.second_factor import Challenge
from services import token_service
from services.errors import InvalidToken

LIFE = timedelta(minutes=5)
TRIES = 5
OVER = "This step was done before, or took too long. Start again."


def start(
    purpose: ChallengePurpose,
    *,
    user_id: int | None = None,
    data: dict[str, Any] | None = None,
    life: timedelta = LIFE,
) -> str:
    """Note what was asked; the token its answer has to bring."""
    token = token_service.new_token()
    db.session.add(
        Challenge(
            purpose=purpose,
            user_id=user_id,
            token_hash=token_service.digest(token),
            data=data or {},
            expires_at=now() + life,
        )
    )
    return token


def find(token: str, purpose: ChallengePurpose) -> Challenge:
    """What was asked, locked, so that of two answers at once one counts. Raises InvalidToken."""
    row = db.session.scalar(
        select(Challenge)
        .where(
            Challenge.token_hash == token_service.digest(token),
            Challenge.purpose == purpose,
            Challenge.expires_at > now(),
            Challenge.attempts < TRIES,
        )
        .with_for_update()
    )
    if row is None:
        raise InvalidToken(OVER)
    return row


def live(challenge_id: UUID) -> Challenge:
    """A challenge that another one was begun for, locked. Raises InvalidToken when it is over."""
    row = db.session.scalar(
        select(Challenge)
        .where(Challenge.id == challenge_id, Challenge.expires_at > now(), Challenge.attempts < TRIES)
        .with_for_update()
    )
    if row is None:
        raise InvalidToken(OVER)
    return row


def finish(challenge: Challenge) -> None:
    """The answer was right: the challenge is used up."""
    db.session.delete(challenge)
    db.session.flush()  # the row is gone for whoever waited for it


def use(token: str, purpose: ChallengePurpose) -> Challenge:
    """Find and finish at once: where the first answer is the last, right or wrong. Raises InvalidToken."""
    challenge = find(token, purpose)
    finish(challenge)
    return challenge


def forget_all(user_id: int) -> None:
    """Drop what an account has half done."""
    db.session.execute(delete(Challenge).where(Challenge.user_id == user_id))


def forget_sign_ins(user_id: int) -> None:
    """Drop the sign-ins of an account that wait for their second step: their password is another one now."""
    is_sign_in = Challenge.purpose == ChallengePurpose.SECOND_FACTOR
    db.session.execute(delete(Challenge).where(Challenge.user_id == user_id, is_sign_in))


def purge() -> int:
    """Delete challenges that are over; returns how many."""
    statement = delete(Challenge).where(Challenge.expires_at <= now()).returning(Challenge.id)
    return len(db.session.scalars(statement).all())
