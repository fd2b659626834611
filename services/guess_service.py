"""Guesses at passwords: every door at which one can be tried asks here (docs/security/throttling.md, ADR-013).

An account gives each device that it knows, and all unknown ones together, ten tries; then every failure makes the next
try wait longer, up to a quarter of an hour, for ever: there is no lock, and so none to throw at somebody else. A try is
claimed before the password is looked at, in one statement, on a connection that commits by itself.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import current_app
from limits import RateLimitItemPerDay
from sqlalchemy import ColumnElement, Engine, and_, case, delete, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from models import User, db
from models.base import now
from models.password_try import PasswordTry
from models.user import PLACE, PLACES
from services import (
    audit_service,
    known_device_service,
    mail_service,
    password_service,
    slow_mode_service,
    suspension_service,
    throttle_service,
    token_service,
)
from services.base_service import PURGE_BATCH
from services.errors import Unavailable
from services.principal import Principal

#: What the first, second, … failure in a row makes the next try wait, in seconds; the last stands for all that follow.
WAITS = (*[0] * 9, 30, 60, 120, 240, 480, 900)
#: The same for unknown devices in slow mode.
SLOW_WAITS = (30, 60, 120, 240, 480, 900)
#: Failures in five minutes that slow mode leaves an address.
SLOW_BY_ADDRESS = 5
#: So long after the latest failure nothing is left of it.
LIFE = timedelta(hours=24)
#: After so many failures in a row the owner is told; of a guesser who does not give up, once a week.
TOLD_AT = 100
TELL_OWNER = RateLimitItemPerDay(1, 7, namespace="guesses-mail")
UNKNOWN = b""


@dataclass(frozen=True, slots=True)
class Guess:
    """Whose account an address is, if anybody's, and whether the password opens it: false for a closed one."""

    user: User | None
    is_right: bool


@dataclass(frozen=True, slots=True)
class _Try:
    """One claimed try: until it turns out right it counts as the `number`th failure in a row."""

    account: bytes
    device: bytes
    number: int
    #: Counted for the caller's address too.
    by_address: bool

    @property
    def row(self) -> ColumnElement[bool]:
        return and_(PasswordTry.account == self.account, PasswordTry.device == self.device)


def by_address(email: str, password: str) -> Guess:
    """Try a password at the account of an address, which there may be or not. Raises RateLimited or Unavailable."""
    statement = select(User, known_device_service.knows_browser(User.id)).where(User.email == email)
    # Account or none: the same statements, and the same count.
    user, is_known = db.session.execute(statement).first() or (None, False)
    claimed = _claim(email, is_known=is_known, by_address=True)
    # Looked for in any case, so that the statements are the same.
    another = _hash_of_another(email)
    with _given_back(claimed):
        own_hash = user.password_hash if user else None
        is_right = password_service.verify(password, own_hash, as_long_as=another)
    if user is not None and is_right:
        suspension_service.end_if_over(user)
        is_right = user.is_active and user.frozen_at is None
    _settle(claimed, is_right=is_right, user_id=user.id if user else None)
    return Guess(user, is_right)


def own(password: str, *, by: Principal) -> bool:
    """Whether this is the caller's own password; counts as at the sign-in. Raises RateLimited or Unavailable."""
    statement = select(User.email, User.password_hash, known_device_service.knows_browser(User.id))
    email, password_hash, is_known = db.session.execute(statement.where(User.id == by.user_id)).one()
    claimed = _claim(email, is_known=is_known, by_address=False)
    with _given_back(claimed):
        is_right = password_service.verify(password, password_hash)
    _settle(claimed, is_right=is_right, user_id=by.user_id)
    return is_right


def _hash_of_another(email: str) -> str | None:
    """The hash that an address without a password takes as long as; None while nobody has a password.

    All who have one stand in a circle, and a keyed digest of the address says where it stands: it takes the next one's.
    So such addresses show old and new costs as often as accounts do, each of them always the same until that account's
    change, and a new account takes over no more than its share (consistent hashing).
    """
    place = int.from_bytes(token_service.keyed_digest("hash-of-another", email)[:8]) % PLACES
    first = select(User.password_hash).where(User.password_hash.is_not(None)).order_by(PLACE).limit(1)
    following = first.where(place <= PLACE).scalar_subquery()
    found: str | None = db.session.scalar(select(func.coalesce(following, first.scalar_subquery())))
    return found


def forget(user_id: int) -> None:
    """Start anew for an account: its password was reset by a mailed link."""
    email = db.session.scalar(select(User.email).where(User.id == user_id))
    _execute(delete(PasswordTry).where(PasswordTry.account == _digest(email or "")))


def start_over(user: User) -> None:
    """The owner has shown by mail whose account it is: nothing is counted, and the browser in use is a known one.

    Or whoever guesses at this account could still keep its owner out: unknown devices wait together.
    """
    known_device_service.remember_browser(user)
    forget(user.id)


def purge() -> int:
    """Delete failures of which nothing is left; returns how many rows. At most 5,000 at a time."""
    is_stale = PasswordTry.last_failed_at <= now() - LIFE
    key = tuple_(PasswordTry.account, PasswordTry.device)
    some = select(PasswordTry.account, PasswordTry.device).where(is_stale).limit(PURGE_BATCH)
    # Stale still: a try may have been claimed since the rows were chosen.
    gone = delete(PasswordTry).where(key.in_(some), is_stale).returning(PasswordTry.failures)
    return len(db.session.scalars(gone).all())


def _claim(email: str, *, is_known: bool, by_address: bool) -> _Try | None:
    """Count a try as a failure until it turns out right. Raises RateLimited: then nothing was counted.

    None when limits are off.
    """
    if not current_app.config["RATELIMIT_ENABLED"]:
        return None
    is_slow = not is_known and slow_mode_service.is_on()
    # A known device guesses at its own account alone, and there it has a count of its own: not the neighbours' fault.
    by_address = by_address and not is_known
    if by_address:
        most = SLOW_BY_ADDRESS if is_slow else None
        throttle_service.spend(throttle_service.LOGIN_BY_ADDRESS, throttle_service.address(), most=most)
    account = _digest(email)
    device = (known_device_service.browser_digest() or UNKNOWN) if is_known else UNKNOWN
    number = _execute(_claiming(account, device, SLOW_WAITS if is_slow else WAITS))
    claimed = _Try(account, device, number or 0, by_address)
    if number is None:
        _refund_address(claimed)
        raise throttle_service.too_soon(_seconds_left(claimed))
    return claimed


def _claiming(account: bytes, device: bytes, waits: Sequence[int]) -> Any:
    """One more failure unless the last one's wait still runs: one statement, so that of many at once each counts."""
    moment = now()
    # No wait is NULL rather than this moment: another instance's clock may be a little behind.
    ends = [moment + timedelta(seconds=wait) if wait else None for wait in waits]
    number = case((PasswordTry.last_failed_at <= moment - LIFE, literal(1)), else_=PasswordTry.failures + 1)
    statement = insert(PasswordTry).values(
        account=account, device=device, failures=1, waits_until=ends[0], last_failed_at=moment
    )
    return statement.on_conflict_do_update(
        index_elements=[PasswordTry.account, PasswordTry.device],
        set_={
            "failures": number,
            "waits_until": case(dict(enumerate(ends, start=1)), value=number, else_=ends[-1]),
            "last_failed_at": moment,
        },
        where=or_(PasswordTry.waits_until.is_(None), PasswordTry.waits_until <= moment),
    ).returning(PasswordTry.failures)


@contextmanager
def _given_back(claimed: _Try | None) -> Iterator[None]:
    """Take the count back when nobody could look at the password: too many were hashed, or there was no memory."""
    try:
        yield
    except Unavailable:
        if claimed is not None:
            _refund_address(claimed)
            is_latest = PasswordTry.failures == claimed.number
            values = {
                "failures": func.greatest(PasswordTry.failures - 1, 0),
                "waits_until": case((is_latest, None), else_=PasswordTry.waits_until),
            }
            _execute(update(PasswordTry).where(claimed.row).values(values))
        raise


def _settle(claimed: _Try | None, *, is_right: bool, user_id: int | None) -> None:
    if claimed is None:
        return
    if is_right:
        _refund_address(claimed)
        # This device's count alone: who knows the password from home says nothing about those who guess elsewhere.
        _execute(delete(PasswordTry).where(claimed.row))
        return
    if claimed.device == UNKNOWN:
        slow_mode_service.note_failure()
    # Asked for an address that nobody has as well, so that no time tells.
    is_due = claimed.number >= TOLD_AT and throttle_service.allows(TELL_OWNER, claimed.account.hex())
    if is_due and user_id is not None:
        _tell_owner(user_id)


def _tell_owner(user_id: int) -> None:
    user = db.session.get_one(User, user_id)
    if user.is_active and user.email_verified:
        audit_service.record("account:login:guessed", actor_id=None, target_id=user_id)
        mail_service.send("password_guessed", to=user.email, name=user.name, failures=str(TOLD_AT))


def _refund_address(claimed: _Try) -> None:
    if claimed.by_address:
        throttle_service.refund(throttle_service.LOGIN_BY_ADDRESS, throttle_service.address())


def _seconds_left(claimed: _Try) -> float:
    waits_until = _execute(select(PasswordTry.waits_until).where(claimed.row))
    return (waits_until - now()).total_seconds() if waits_until else 0.0


def _digest(email: str) -> bytes:
    return token_service.keyed_digest("password-tries", email)


def _execute(statement: Any) -> Any:
    """Run a statement that commits by itself: what is refused afterwards still counts. Returns its value, if any."""
    engine: Engine = current_app.extensions["counter_engine"]
    with engine.connect() as connection:
        result = connection.execute(statement)
        return result.scalar() if result.returns_rows else None
