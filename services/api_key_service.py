"""API keys: named, scoped, expiring, revocable; shown once and kept as a digest.

`ptk_` + 256 random bits + a checksum: secret scanners recognise the form, and a mistyped key is told without a look-up.
A key may what its scopes say and its owner may at that moment, never more; beyond that it reads its owner's account.
"""

import binascii
import re
from datetime import timedelta
from uuid import UUID

from sqlalchemy import bindparam, delete, func, select, update

from models import Role, User, db
from models.api_key import ApiKey
from models.base import AnyRow, now
from models.reading import Prepared
from services import audit_service, security_service, token_service, user_service
from services.base_service import fetch_first, found
from services.errors import Conflict, Invalid
from services.principal import Principal
from services.schemas.api_key import ApiKeyIn, NewApiKeyOut

PREFIX = "ptk_"
FORM = re.compile(r"ptk_([A-Za-z0-9_-]{43})([0-9a-f]{8})", re.ASCII)
SHOWN = 12
MOST = 50
TOUCH_EVERY = timedelta(seconds=60)
KIND = "key"

_COLUMNS = (
    ApiKey.id,
    ApiKey.name,
    ApiKey.prefix,
    ApiKey.scopes,
    ApiKey.created_at,
    ApiKey.expires_at,
    ApiKey.last_used_at,
)
_BY_HASH = Prepared(
    select(
        ApiKey.id,
        ApiKey.user_id,
        ApiKey.scopes,
        ApiKey.created_at,
        ApiKey.last_used_at,
        User.email,
        User.name,
        User.role,
        User.has_second_factor,
        User.frozen_at,
        Role.permissions,
    )
    .join(User, User.id == ApiKey.user_id)
    .join(Role, Role.name == User.role)
    .where(
        ApiKey.key_hash == bindparam("key_hash"),
        User.is_active,
        ApiKey.expires_at.is_(None) | (ApiKey.expires_at > bindparam("now")),
    )
)


def is_one(token: str) -> bool:
    """Whether a bearer token has the form of a key."""
    return token.startswith(PREFIX)


def find(key: str) -> Principal | None:
    """Who acts by this key, or None when it is mistyped, unknown, expired, or its owner suspended. One statement."""
    match = FORM.fullmatch(key)
    if match is None or match[2] != _checksum(match[1]):
        return None
    moment = now()
    row = fetch_first(_BY_HASH, {"key_hash": token_service.digest(key), "now": moment})
    if row is None:
        return None
    if row.last_used_at is None or moment - row.last_used_at > TOUCH_EVERY:
        db.session.execute(update(ApiKey).where(ApiKey.id == row.id).values(last_used_at=moment))
    return Principal(
        user_id=row.user_id,
        session_id=None,
        email=row.email,
        name=row.name,
        role=row.role,
        permissions=frozenset(row.permissions) & frozenset(row.scopes),
        kind=KIND,
        authenticated_at=row.created_at,
        has_second_factor=row.has_second_factor,
        frozen_at=row.frozen_at,
    )


def list_of(user_id: int) -> list[AnyRow]:
    """The keys of an account, newest first; at most fifty by design."""
    statement = (
        select(*_COLUMNS).where(ApiKey.user_id == user_id).order_by(ApiKey.created_at.desc(), ApiKey.id)
    )
    return list(db.session.execute(statement).all())


def create(data: ApiKeyIn, *, by: Principal) -> NewApiKeyOut:
    """A new key, told this once; its owner gets a mail.

    Raises Invalid (a scope that is not the caller's, or an end in the past), Conflict (fifty are enough) or
    AccountFrozen.
    """
    user = user_service.load_own(by)
    _check(data, by)
    body = token_service.new_token()
    key = f"{PREFIX}{body}{_checksum(body)}"
    row = ApiKey(
        user_id=by.user_id,
        name=data.name,
        prefix=key[:SHOWN],
        key_hash=token_service.digest(key),
        scopes=sorted(set(data.scopes)),
        expires_at=data.expires_at,
    )
    db.session.add(row)
    db.session.flush()  # the id goes into the answer
    audit_service.record("account:api_key:create", actor_id=by.user_id, key=data.name, scopes=row.scopes)
    security_service.tell(user, "api_key_made", key_name=data.name)
    return NewApiKeyOut(
        id=row.id, name=row.name, prefix=row.prefix, scopes=row.scopes, expires_at=row.expires_at, key=key
    )


def revoke(key_id: UUID, *, by: Principal) -> None:
    """Make one of the caller's keys worthless. Raises NotFound."""
    name = found(
        db.session.scalar(
            delete(ApiKey).where(ApiKey.id == key_id, ApiKey.user_id == by.user_id).returning(ApiKey.name)
        )
    )
    audit_service.record("account:api_key:revoke", actor_id=by.user_id, key=name)


def revoke_all(user_id: int) -> None:
    """Make every key of an account worthless: part of something that has its own event."""
    db.session.execute(delete(ApiKey).where(ApiKey.user_id == user_id))


def _check(data: ApiKeyIn, by: Principal) -> None:
    beyond = sorted(set(data.scopes) - by.permissions)
    if beyond:
        allowed = ", ".join(sorted(by.permissions)) or "none"
        raise Invalid.field("scopes", f"You can give what you have: {allowed}", "unknown_scope")
    if data.expires_at is not None and data.expires_at <= now():
        raise Invalid.field("expires_at", "This is in the past", "past")
    held = db.session.scalar(select(func.count()).select_from(ApiKey).where(ApiKey.user_id == by.user_id))
    if (held or 0) >= MOST:
        raise Conflict("Fifty keys are enough. Revoke one first.")


def _checksum(body: str) -> str:
    return f"{binascii.crc32(body.encode()):08x}"
