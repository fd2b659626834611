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
REUSE_GRACE = timedelta(seconds=10)
#: Ten seconds are counted by one clock: those of two instances may differ by more.
_CLOCK = func.clock_timestamp(type_=DateTime(timezone=True)).label("database_time")


def first_pair(session: UserSession) -> TokenPairOut:
    """The tokens with which a program's session begins."""
    token = token_service.new_token()
    _add(session, token)
    return _pair(session, token)


def refresh(token: str) -> TokenPairOut:
    """Exchange a refresh token for the next pair.

    The same token again within ten seconds gives the same successor (the answer was lost); later it is a copy in other
    hands: the session ends, its owner is told. Raises InvalidToken or TokenReused. Concurrent calls queue on the row.
    """
    row = db.session.execute(
        select(RefreshToken, UserSession, _CLOCK)
        .join(UserSession, UserSession.id == RefreshToken.session_id)
        .join(User, User.id == UserSession.user_id)
        .where(RefreshToken.token_hash == token_service.digest(token), User.is_active)
        # The session first, as whoever ends it does: nobody waits for each other in a ring.
        .with_for_update(of=[UserSession, RefreshToken])
    ).first()
    moment = now()
    if row is None or row.UserSession.expires_at <= moment or row.RefreshToken.expires_at <= moment:
        throttle_service.spend(throttle_service.REFRESH_BY_ADDRESS, throttle_service.address())
        raise InvalidToken
    presented: RefreshToken = row.RefreshToken
    session: UserSession = row.UserSession
    throttle_service.spend(throttle_service.REFRESH_BY_SESSION, str(session.id))
    following = token_service.successor(token)
    if presented.used_at is None:
        presented.used_at = row.database_time
        _add(session, following)
        _note_use(session, moment)
    elif row.database_time - presented.used_at > REUSE_GRACE:
        _end_reused(session.id, session.user_id)
        raise TokenReused
    return _pair(session, following)


def _add(session: UserSession, token: str) -> None:
    db.session.add(
        RefreshToken(
            session_id=session.id,
            token_hash=token_service.digest(token),
            expires_at=min(now() + REFRESH_IDLE, session.expires_at),
        )
    )


def _note_use(session: UserSession, moment: datetime) -> None:
    session.last_seen_at = max(session.last_seen_at, moment)
    session.ip = origin().address


def _pair(session: UserSession, refresh_token: str) -> TokenPairOut:
    return TokenPairOut(
        access_token=token_service.make_access_token(session.user_id, session.id),
        refresh_token=refresh_token,
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
