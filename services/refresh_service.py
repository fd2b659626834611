"""Refresh tokens: each is exchanged for the next pair of tokens once (ADR-011)."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import DateTime, delete, func, select

from models import RefreshToken, User, UserSession, db
from models.base import now
from services import audit_service, security_service, throttle_service, token_service
from services.errors import InvalidToken, TokenReused
from services.origin import origin
from services.schemas.auth import TokenPairOut

REFRESH_IDLE = timedelta(days=14)
#: So long an exchange is given again whatever happened since: calls of one program that crossed each other.
CROSSED = timedelta(seconds=30)
#: And so long while nobody has presented anything of the new pair: its answer was lost.
LOST = timedelta(minutes=10)
#: Seconds are counted by one clock: those of two instances may differ by more.
_CLOCK = func.clock_timestamp(type_=DateTime(timezone=True)).label("database_time")


def first_pair(session: UserSession) -> TokenPairOut:
    """The tokens with which a program's session begins."""
    token = token_service.new_token()
    return _pair(session, token, _add(session, token, generation=0))


def refresh(token: str) -> TokenPairOut:
    """Exchange a refresh token for the next pair.

    The latest exchange is given again, with the same refresh token: for 30 seconds, and then until somebody presents
    something of its pair, ten minutes at most, as its answer was lost. Any other used token is a copy in other hands:
    the session ends, its owner is told. Raises InvalidToken or TokenReused. Concurrent calls queue on the row.
    """
    row = db.session.execute(
        select(RefreshToken, UserSession, _CLOCK)
        .join(UserSession, UserSession.id == RefreshToken.session_id)
        .join(User, User.id == UserSession.user_id)
        .where(RefreshToken.token_hash == token_service.digest(token), User.is_active)
        # The session first, as where it is ended: nobody waits for each other in a ring.
        .with_for_update(of=[UserSession, RefreshToken])
    ).first()
    if row is None or _is_over(row.RefreshToken, row.UserSession):
        throttle_service.spend(throttle_service.REFRESH_BY_ADDRESS, throttle_service.address())
        raise InvalidToken
    session: UserSession = row.UserSession
    throttle_service.spend(throttle_service.REFRESH_BY_SESSION, str(session.id))
    if row.RefreshToken.used_at is None:
        return _exchange(token, row.RefreshToken, session, row.database_time)
    repeated = _repeat(token, session, age=row.database_time - row.RefreshToken.used_at)
    if repeated is None:
        _end_reused(session.id, session.user_id)
        raise TokenReused
    return repeated


def _is_over(presented: RefreshToken, session: UserSession) -> bool:
    """Whether it is too late. What was exchanged before is looked at all the same: a copy gives itself away."""
    moment = now()
    return session.expires_at <= moment or (presented.used_at is None and presented.expires_at <= moment)


def _exchange(token: str, presented: RefreshToken, session: UserSession, moment: datetime) -> TokenPairOut:
    presented.used_at = moment
    following = token_service.successor(token)
    # Above what was presented, also where the code before this one, which counts nothing, made exchanges in between.
    generation = max(session.presented_generation, presented.generation) + 1
    _note_use(session)
    return _pair(session, following, _add(session, following, generation=generation))


def _repeat(token: str, session: UserSession, *, age: timedelta) -> TokenPairOut | None:
    """The answer of an exchange so long ago once more; None unless it is the latest and its answer may be lost."""
    candidates = {token_service.digest(following): following for following in token_service.successors(token)}
    latest = db.session.scalar(
        select(RefreshToken).where(
            RefreshToken.session_id == session.id,
            RefreshToken.token_hash.in_(candidates),
            RefreshToken.used_at.is_(None),
        )
    )
    if latest is None:
        return None
    is_lost = age <= LOST and latest.generation > session.presented_generation
    return _pair(session, candidates[latest.token_hash], latest) if age <= CROSSED or is_lost else None


def _add(session: UserSession, token: str, *, generation: int) -> RefreshToken:
    added = RefreshToken(
        session_id=session.id,
        token_hash=token_service.digest(token),
        generation=generation,
        expires_at=min(now() + REFRESH_IDLE, session.expires_at),
    )
    db.session.add(added)
    return added


def _note_use(session: UserSession) -> None:
    session.last_seen_at = max(session.last_seen_at, now())
    session.ip = origin().address


def _pair(session: UserSession, token: str, row: RefreshToken) -> TokenPairOut:
    return TokenPairOut(
        access_token=token_service.make_access_token(session.user_id, session.id, generation=row.generation),
        refresh_token=token,
        token_type="Bearer",  # noqa: S106 - the scheme's name
        expires_in=token_service.ACCESS_TOKEN_SECONDS,
    )


def _end_reused(session_id: UUID, user_id: int) -> None:
    session = db.session.scalar(
        delete(UserSession).where(UserSession.id == session_id).returning(UserSession.device_name)
    )
    user = db.session.get_one(User, user_id)
    audit_service.record("account:token:reuse", actor_id=None, target_id=user_id, device=session)
    security_service.tell(user, "refresh_token_reused", device_name=session)
