"""Known devices: where an account was signed in before. An unknown one is told to its owner (ASVS 6.3.5).

A browser shows the token of its device cookie, which nobody can guess; a program only what it calls itself, which
everybody can: so a program is known for this mail, and never for the throttling (docs/security/throttling.md).
"""

from datetime import timedelta
from typing import Any

from limits import RateLimitItemPerHour
from sqlalchemy import (
    ColumnElement,
    SQLColumnExpression,
    delete,
    exists,
    false,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import insert

from models import User, db
from models.base import now
from models.device import KnownDevice
from services import audit_service, security_service, throttle_service, token_service
from services.device import device_name
from services.origin import origin

#: A device that was not used for so long is new again; its cookie lives as long.
LIFE = timedelta(days=180)
#: An account knows this many; then the one used least lately is forgotten.
MOST = 100
#: Mails to one account: whoever signs in in a loop, each time as a new device, fills no mailbox. All are recorded.
TOLD_AN_HOUR = RateLimitItemPerHour(10, namespace="new-device-mail")


def greet_browser(user: User, *, since_before: bool) -> None:
    """Note the browser in use; tell the owner if it is new to an account that was signed in `since_before`."""
    token = origin().device
    if token is not None:
        _greet(user, token_service.digest(token), device_name(origin().user_agent), since_before=since_before)


def greet_program(user: User, name: str | None, *, since_before: bool) -> None:
    """As `greet_browser`, for a program of this name."""
    calls_itself = f"{origin().user_agent or ''}\n{name or ''}"
    digest = token_service.keyed_digest("program", calls_itself)
    _greet(user, digest, name or device_name(origin().user_agent), since_before=since_before)


def remember_browser(user: User) -> None:
    """Note the browser in use without a sign-in: a mailed link was used in it, and its owner is told of that."""
    token = origin().device
    is_new = token is not None and _note(user.id, token_service.digest(token))
    if is_new and user.last_login_at is not None:
        audit_service.record("account:device:new", actor_id=user.id, device=device_name(origin().user_agent))


def browser_digest() -> bytes | None:
    """What the database keeps of the browser in use, known or not; None for programs."""
    token = origin().device
    return None if token is None else token_service.digest(token)


def knows_browser(user_id: SQLColumnExpression[int]) -> ColumnElement[bool]:
    """Whether the account of a statement knows the browser in use. Never for a program, whatever it calls itself."""
    digest = browser_digest()
    if digest is None:
        return false()
    return exists().where(
        KnownDevice.user_id == user_id,
        KnownDevice.token_hash == digest,
        KnownDevice.last_used_at > now() - LIFE,
    )


def known_browser(user_id: int) -> bytes | None:
    """What the database keeps of the browser in use, where the account knows it; None for any other device."""
    digest = browser_digest()
    return digest if digest and db.session.scalar(select(knows_browser(literal(user_id)))) else None


def forget_all(user_id: int) -> None:
    """Know no device of an account any more: the next sign-in on each is new, and told."""
    db.session.execute(delete(KnownDevice).where(KnownDevice.user_id == user_id))


def purge() -> int:
    """Delete devices that were not used for half a year; returns how many."""
    return len(
        db.session.scalars(
            delete(KnownDevice).where(KnownDevice.last_used_at <= now() - LIFE).returning(KnownDevice.id)
        ).all()
    )


def _greet(user: User, digest: bytes, name: str, *, since_before: bool) -> None:
    if not _note(user.id, digest) or not since_before:
        return
    audit_service.record("account:device:new", actor_id=user.id, device=name)
    if throttle_service.allows(TOLD_AN_HOUR, str(user.id)):
        security_service.tell(user, "new_device")


def _note(user_id: int, digest: bytes) -> bool:
    """Keep the device, or that it was used again; of two sign-ins at once, one finds it new."""
    moment = now()
    statement: Any = (
        insert(KnownDevice)
        .values(user_id=user_id, token_hash=digest, created_at=moment, last_used_at=moment)
        .on_conflict_do_update(
            index_elements=[KnownDevice.user_id, KnownDevice.token_hash], set_={"last_used_at": moment}
        )
        .returning(literal_column("xmax = 0"))  # true for a row that was not there
    )
    is_new = bool(db.session.execute(statement).scalar_one())
    if is_new:
        _forget_surplus(user_id)
    return is_new


def _forget_surplus(user_id: int) -> None:
    theirs = select(KnownDevice.id).where(KnownDevice.user_id == user_id)
    surplus = theirs.order_by(KnownDevice.last_used_at.desc(), KnownDevice.id.desc()).offset(MOST)
    db.session.execute(delete(KnownDevice).where(KnownDevice.id.in_(surplus)))
