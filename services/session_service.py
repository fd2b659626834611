"""Sessions: one row a signed-in device, checked at each request in one statement, ended by deleting the row."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import ScalarSelect, bindparam, case, delete, exists, func, literal, select, update

from models import Role, User, UserSession, db
from models.base import AnyRow, now
from models.enums import SessionKind
from models.reading import Prepared
from services import (
    audit_service,
    impersonation,
    refresh_service,
    security_service,
    throttle_service,
    token_service,
)
from services.base_service import fetch, fetch_first, found, keep, optional
from services.device import device_name
from services.errors import Forbidden, InvalidToken
from services.origin import origin, set_impersonator
from services.principal import Principal
from services.schemas.auth import TokenPairOut
from services.signing_keys import AccessClaims

API_ABSOLUTE = timedelta(days=30)
TOUCH_EVERY = timedelta(seconds=60)
MOST_SESSIONS = 20

_PRINCIPAL = (
    UserSession.user_id,
    UserSession.id.label("session_id"),
    User.email,
    User.name,
    User.role,
    Role.permissions,
    UserSession.kind,
    UserSession.authenticated_at,
    User.has_second_factor,
    User.deletes_at,
    User.picture,
    User.frozen_at,
    UserSession.last_seen_at,
)
_IS_LIVE = (
    User.id == UserSession.user_id,
    Role.name == User.role,
    User.is_active,
    UserSession.expires_at > bindparam("now"),
)
_HAS_ID = (
    UserSession.id == bindparam("session_id"),
    UserSession.user_id == bindparam("owner_id"),
    UserSession.kind == SessionKind.API,
)
_BY_ID = Prepared(select(*_PRINCIPAL).where(*_IS_LIVE, *_HAS_ID))
_BY_ID_NOTING = (
    update(UserSession)
    .where(*_IS_LIVE, *_HAS_ID)
    .values(
        presented_generation=func.greatest(UserSession.presented_generation, bindparam("generation")),
        last_seen_at=func.greatest(UserSession.last_seen_at, bindparam("now")),
        ip=bindparam("address"),
    )
    .returning(*_PRINCIPAL)
)
_BY_TOKEN = Prepared(
    select(
        *_PRINCIPAL, UserSession.expires_at, UserSession.impersonator_id, UserSession.impersonator_session_id
    ).where(
        *_IS_LIVE,
        UserSession.token_hash == bindparam("token_hash"),
        UserSession.last_seen_at > bindparam("idle_since"),
        impersonation.holds(moment=bindparam("now"), idle_since=bindparam("idle_since")),
    )
)
#: What is asked of sessions that were deleted.
_ENDED = (UserSession.id, UserSession.user_id, UserSession.impersonator_id)


def find_api(claims: AccessClaims) -> Principal | None:
    """Who calls with this access token, or None when its session is over or its user suspended. One statement."""
    values = {"session_id": claims.session_id, "owner_id": claims.user_id, "now": now()}
    row = None if claims.is_noted else _first_use(claims, values)
    if row is None:
        row = fetch_first(_BY_ID, values)
    return _principal(row, row.session_id) if row else None


def find_browser(token: str) -> Principal | None:
    """Who this cookie's token stands for, or None when its session is over or was idle too long. One statement."""
    moment = now()
    idle = timedelta(minutes=current_app.config["SESSION_LIFETIME_MINUTES"])
    row = fetch_first(
        _BY_TOKEN, {"token_hash": token_service.digest(token), "now": moment, "idle_since": moment - idle}
    )
    if row is None or row.impersonator_id is None:
        return _principal(row, row.session_id) if row else None
    set_impersonator(row.impersonator_id)
    # Whoever is signed in as somebody else sits before his own session: it is in use as well.
    person = _principal(row, row.session_id, row.impersonator_session_id)
    return replace(person, impersonator_id=row.impersonator_id, impersonation_ends_at=row.expires_at)


def start_browser(user: User, *, authenticated_at: datetime | None = None) -> tuple[str, Principal]:
    """A new browser session: the token for its cookie, and who it is.

    `authenticated_at` is when he showed who he is, where that was elsewhere and before now.
    """
    token = token_service.new_token()
    session = _start(
        user,
        kind=SessionKind.BROWSER,
        token_hash=token_service.digest(token),
        lifetime=timedelta(hours=current_app.config["SESSION_ABSOLUTE_HOURS"]),
        authenticated_at=authenticated_at,
    )
    return token, _of(user, session)


def start_api(user: User, name: str | None) -> TokenPairOut:
    """A new API session with its first pair of tokens."""
    session = _start(user, kind=SessionKind.API, name=name, lifetime=API_ABSOLUTE)
    return refresh_service.first_pair(session)


def list_of(user_id: int, *, current: UUID | None) -> list[AnyRow]:
    """The live sessions of an account, the latest used first; at most twenty by design."""
    return list(
        db.session.execute(
            select(
                UserSession.id,
                UserSession.kind,
                UserSession.device_name,
                UserSession.user_agent,
                UserSession.ip,
                UserSession.created_at,
                UserSession.last_seen_at,
                (UserSession.id == current if current else literal(value=False)).label("current"),
                UserSession.impersonator_id.is_not(None).label("is_impersonation"),
            )
            .where(UserSession.user_id == user_id, _alive())
            .order_by(UserSession.last_seen_at.desc(), UserSession.id)
        ).all()
    )


def count_of(user_id: int) -> ScalarSelect[int]:
    """On how many devices an account is signed in, as part of a larger question; no administrator's counts."""
    own = (UserSession.user_id == user_id) & UserSession.impersonator_id.is_(None)
    return select(func.count()).select_from(UserSession).where(own, _alive()).scalar_subquery()


def end(session_id: UUID, *, user_id: int, by: Principal) -> None:
    """End one session of an account. Raises NotFound when there is none such, or it is somebody else's."""
    ended = found(
        db.session.execute(
            delete(UserSession)
            .where(UserSession.id == session_id, UserSession.user_id == user_id)
            .returning(*_ENDED)
        ).first()
    )
    impersonation.tell_ends([ended], impersonation.SIGNED_OUT)
    audit_service.record(
        "account:session:end", actor_id=by.user_id, target_id=user_id, session=str(session_id)[:8]
    )


def end_others(user_id: int, *, keep: UUID | None, by: Principal) -> int:
    """End every session of an account but `keep`; returns how many."""
    ended = end_all(user_id, keep=keep)
    audit_service.record("account:session:end_others", actor_id=by.user_id, target_id=user_id, ended=ended)
    return ended


def end_all(user_id: int, *, keep: UUID | None = None) -> int:
    """End sessions without a word in the audit log: part of something that has its own event."""
    statement = delete(UserSession).where(UserSession.user_id == user_id)
    if keep is not None:
        statement = statement.where(UserSession.id != keep)
    ended = db.session.execute(statement.returning(*_ENDED)).all()
    impersonation.tell_ends(ended, impersonation.SIGNED_OUT)
    return len(ended)


def log_out(by: Principal) -> None:
    """End the session in use; its tokens and its cookie are worth nothing from now on. Raises Forbidden without one.

    An administrator who is signed in as somebody else is signed out of his own account as well.
    """
    session_id = _in_use(by)
    both = (UserSession.id == session_id) | (UserSession.id == impersonation.session_behind(session_id))
    ended = db.session.execute(delete(UserSession).where(both).returning(*_ENDED)).all()
    impersonation.tell_ends(ended, impersonation.STOPPED)
    audit_service.record("account:logout", actor_id=by.impersonator_id or by.user_id)


def check_goes_on(by: Principal) -> None:
    """Raise InvalidToken when the session in use was ended since the request began. Keys have none.

    A statement of its own, once the account is locked: one that waits for the lock sees the sessions of before.
    """
    goes_on = exists().where(UserSession.id == by.session_id)
    if by.session_id is not None and not db.session.scalar(select(goes_on)):
        raise InvalidToken("This session is over.")


def renew(by: Principal) -> str | None:
    """The same session, after its holder has shown again who he is: a browser gets a new token for its cookie.

    Raises Forbidden for a caller without a session.
    """
    token = token_service.new_token() if by.kind == SessionKind.BROWSER else None
    changes: dict[str, Any] = {"authenticated_at": now()}
    if token is not None:
        changes["token_hash"] = token_service.digest(token)
    db.session.execute(update(UserSession).where(UserSession.id == _in_use(by)).values(changes))
    return token


def new_cookie(by: Principal) -> str:
    """Another token for the cookie of the same browser session: what was known of the former one is worth nothing.

    Unlike `renew` it makes nothing fresh. For after a change of how somebody signs in (ASVS 7.2.4).
    """
    token = token_service.new_token()
    db.session.execute(
        update(UserSession)
        .where(UserSession.id == by.session_id)
        .values(token_hash=token_service.digest(token))
    )
    return token


def purge() -> int:
    """Delete sessions that are over; returns how many."""
    ended = db.session.execute(delete(UserSession).where(~_alive()).returning(*_ENDED)).all()
    impersonation.tell_ends(ended, impersonation.OVER)
    return len(ended)


def _in_use(by: Principal) -> UUID:
    if by.session_id is None:
        raise Forbidden("This needs a session of ours. Sign in with POST /api/v1/auth/login.")
    return by.session_id


def _alive() -> Any:
    moment = now()
    idle_since = moment - timedelta(minutes=current_app.config["SESSION_LIFETIME_MINUTES"])
    used_lately = (UserSession.kind == SessionKind.API) | (UserSession.last_seen_at > idle_since)
    holds = impersonation.holds(moment=moment, idle_since=idle_since)
    return (UserSession.expires_at > moment) & used_lately & holds


def _start(
    user: User,
    *,
    kind: SessionKind,
    lifetime: timedelta,
    token_hash: bytes | None = None,
    name: str | None = None,
    authenticated_at: datetime | None = None,
) -> UserSession:
    source, moment = origin(), now()
    session = UserSession(
        user_id=user.id,
        kind=kind,
        token_hash=token_hash,
        device_name=name or device_name(source.user_agent),
        user_agent=source.user_agent,
        ip=source.address,
        created_at=moment,
        last_seen_at=moment,
        authenticated_at=min(authenticated_at or moment, moment),
        expires_at=moment + lifetime,
    )
    db.session.add(session)
    db.session.flush()  # the id goes into the access token
    _end_surplus(user)
    return session


def _end_surplus(user: User) -> None:
    """The twenty-first session ends the one that was used least lately; its owner is told, at most once a day."""
    surplus = (
        select(UserSession.id)
        .where(UserSession.user_id == user.id, UserSession.impersonator_id.is_(None))
        .order_by(UserSession.last_seen_at.desc(), UserSession.id)
        .offset(MOST_SESSIONS)
    )
    ended = db.session.scalars(
        delete(UserSession).where(UserSession.id.in_(surplus)).returning(UserSession.device_name)
    ).all()
    for device in ended:
        audit_service.record("account:session:surplus", actor_id=user.id, device=device)
    if ended and throttle_service.allows(throttle_service.SURPLUS_MAIL, str(user.id)):
        security_service.tell(user, "oldest_session_ended", device_name=ended[0], most=str(MOST_SESSIONS))


def _of(user: User, session: UserSession) -> Principal:
    permissions = db.session.scalar(select(Role.permissions).where(Role.name == user.role)) or []
    return _person(user, user.id, session.id, permissions, session)


def _principal(row: AnyRow, *in_use: UUID) -> Principal:
    moment = now()
    if moment - row.last_seen_at > TOUCH_EVERY:
        _touch(in_use, moment)
    return _person(row, row.user_id, row.session_id, row.permissions, row)


def _person(account: Any, user_id: int, session_id: UUID, permissions: list[str], session: Any) -> Principal:
    return Principal(
        user_id=user_id,
        session_id=session_id,
        email=account.email,
        name=account.name,
        role=account.role,
        permissions=frozenset(permissions),
        kind=session.kind,
        authenticated_at=session.authenticated_at,
        has_second_factor=account.has_second_factor,
        deletes_at=account.deletes_at,
        picture=account.picture,
        frozen_at=account.frozen_at,
    )


def _first_use(claims: AccessClaims, values: Mapping[str, Any]) -> Any:
    """What `_BY_ID` finds, noting in the same statement that the pair of this token has arrived (ADR-011).

    It stays noted where the request comes to nothing. None without such a session, or where the database can't write.
    """
    presented = {"generation": claims.generation, "address": origin().address}
    row = None
    with optional():
        row = fetch(_BY_ID_NOTING, {**values, **presented}).first()
        keep()
        claims.is_noted = row is not None
    return row


def _touch(in_use: Sequence[UUID], moment: datetime) -> None:
    """Note the last use: at most once a minute, a statement of its own even while only reading.

    Where an administrator is signed in as somebody else the row keeps no address: the person would see it.
    A read goes on without it where the database can't write: a full disk, a row somebody holds.
    """
    with optional():
        db.session.execute(
            update(UserSession)
            .where(UserSession.id.in_(in_use))
            .values(
                last_seen_at=func.greatest(UserSession.last_seen_at, moment),
                ip=case((UserSession.impersonator_id.is_(None), origin().address)),
            )
        )
