"""Limits on what can be abused: guesses, mails, registrations (ASVS 2.4.1, 6.3.1; docs/security).

Counters live in PostgreSQL, or in Redis when RATELIMIT_STORAGE_URI says so. While they are out of reach each process
counts for itself: stricter or laxer for a while, never unlimited.
"""

import hashlib
import ipaddress
import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from flask import Flask, current_app
from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError

from models.connections import Watch
from services.errors import RateLimited
from services.origin import origin
from services.rate_limit_storage import PostgresStorage, redis_storage

log = structlog.get_logger(__name__)
Result = TypeVar("Result")

#: What a request may lose on a Redis that says nothing: connecting and asking, once.
REDIS_SECONDS = 0.1
#: Counters that were out of reach are left alone for so long; then one caller tries.
REST_SECONDS = 5.0
AWAY = (StorageError, SQLAlchemyError)

LOGIN_BY_ADDRESS = RateLimitItemPerMinute(20, 5, namespace="login-address")
REGISTER_BY_ADDRESS = RateLimitItemPerHour(20, namespace="register-address")
REGISTER_MAIL = RateLimitItemPerHour(10, namespace="register-mail")
VERIFY_MAIL = RateLimitItemPerHour(3, 6, namespace="verify-mail")
VERIFY_BY_ADDRESS = RateLimitItemPerMinute(10, 5, namespace="verify-address")
RESET_MAIL = RateLimitItemPerDay(5, namespace="reset-mail")
RESET_MAIL_AFTERWARDS = RateLimitItemPerHour(1, namespace="reset-mail-afterwards")
RESET_BY_ADDRESS = RateLimitItemPerHour(20, namespace="reset-address")
ISSUER_BY_ADDRESS = RateLimitItemPerMinute(30, 5, namespace="issuer-address")
TYPED_CODE = RateLimitItemPerDay(20, namespace="typed-code")
LINK_BY_ADDRESS = RateLimitItemPerMinute(20, 5, namespace="link-address")
EXPORT = RateLimitItemPerDay(3, namespace="export")
PICTURE = RateLimitItemPerHour(20, namespace="picture")
PICTURE_MISS_BY_ADDRESS = RateLimitItemPerMinute(100, 5, namespace="picture-miss-address")
SURPLUS_MAIL = RateLimitItemPerDay(1, namespace="surplus-mail")
CHANGE_EMAIL = RateLimitItemPerMinute(5, 5, namespace="change-email")
CHANGE_EMAIL_MAIL = RateLimitItemPerHour(10, namespace="change-email-mail")
INVITE_MAIL = RateLimitItemPerHour(10, namespace="invite-mail")
UNCONFIRMED_MAIL = RateLimitItemPerHour(10, namespace="unconfirmed-mail")
PASSKEY_BY_ADDRESS = RateLimitItemPerMinute(30, 5, namespace="passkey-address")
REFRESH_BY_SESSION = RateLimitItemPerMinute(150, 5, namespace="refresh-session")
REFRESH_BY_ADDRESS = RateLimitItemPerMinute(600, 5, namespace="refresh-address")


class Counters:
    """The chosen storage, and a local one for the time it is away."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.fallback = MemoryStorage()
        self.is_away = False
        self._try_at = 0.0
        self._lock = threading.Lock()

    def call(self, act: Callable[[Storage], Result]) -> Result:
        """Run `act` on the storage; on the local one while the storage does not answer."""
        if not self._may_try():
            return act(self.fallback)
        try:
            result = act(self.storage)
        except AWAY as error:
            log.warning("counters_away", reason=type(error.__cause__ or error).__name__)
            self.is_away, self._try_at = True, time.monotonic() + REST_SECONDS
            return act(self.fallback)
        if self.is_away:
            self.is_away = False
            log.info("counters_back")
        return result

    def _may_try(self) -> bool:
        if not self.is_away:
            return True
        with self._lock:
            moment = time.monotonic()
            if moment < self._try_at:
                return False
            self._try_at = moment + REST_SECONDS
            return True


def init_app(app: Flask) -> None:
    """Choose the storage: RATELIMIT_STORAGE_URI, else REDIS_URL, else PostgreSQL on two connections of its own.

    Those two are there in any case: guesses at passwords are counted in PostgreSQL alone.
    """
    engine = app.extensions["counter_engine"] = _own_engine(app)
    uri = app.config["RATELIMIT_STORAGE_URI"] or app.config["REDIS_URL"]
    is_redis = uri.startswith("redis")
    storage = redis_storage(uri, seconds=REDIS_SECONDS) if is_redis else PostgresStorage(engine)
    app.extensions["counters"] = Counters(storage)


def spend(limit: RateLimitItem, who: str, *, most: int | None = None) -> None:
    """Count one more; raise RateLimited, with the seconds to wait, once it is more than the limit allows.

    `most` is a smaller amount that holds just now, of the same count.
    """
    if not current_app.config["RATELIMIT_ENABLED"]:
        return
    key, counters = _key(limit, who), _counters()
    if counters.call(lambda storage: storage.incr(key, limit.get_expiry())) > (most or limit.amount):
        expiry = counters.call(lambda storage: storage.get_expiry(key))
        raise too_soon(expiry - time.time())


def too_soon(seconds: float) -> RateLimited:
    """The refusal of what may be tried again in so many seconds."""
    whole = max(1, math.ceil(seconds))
    return RateLimited(f"Too many attempts. Try again in {_in_words(whole)}.", retry_after_seconds=whole)


def allows(limit: RateLimitItem, who: str, *further: RateLimitItem) -> bool:
    """Count one more and tell whether it was within the limit: where the answer must not show it.

    `further` limits are asked in turn, each only while those before allow it.
    """
    try:
        for each in (limit, *further):
            spend(each, who)
    except RateLimited:
        return False
    return True


def refund(limit: RateLimitItem, who: str) -> None:
    """Take one back: it was no failure after all."""
    if current_app.config["RATELIMIT_ENABLED"]:
        _counters().call(lambda storage: storage.incr(_key(limit, who), limit.get_expiry(), amount=-1))


def forget(limit: RateLimitItem, who: str) -> None:
    """Start anew for this one: it has shown who it is."""
    if current_app.config["RATELIMIT_ENABLED"]:
        _counters().call(lambda storage: storage.clear(_key(limit, who)))


def add(limit: RateLimitItem, who: str, amount: int) -> int:
    """Add `amount` and return the count of everybody together: for budgets that are settled now and then."""
    return _counters().call(lambda storage: storage.incr(_key(limit, who), limit.get_expiry(), amount=amount))


def seconds_left(limit: RateLimitItem, who: str) -> float:
    """How long the window of this one still lasts; nothing when there is none. Counts nothing."""
    key = _key(limit, who)
    if _counters().call(lambda storage: storage.get(key)) < 1:
        return 0.0
    return max(0.0, _counters().call(lambda storage: storage.get_expiry(key)) - time.time())


def is_counted(limit: RateLimitItem, who: str) -> bool:
    """Whether anything was counted in the present window. Counts nothing."""
    return _counters().call(lambda storage: storage.get(_key(limit, who))) > 0


def counts_together() -> bool:
    """Whether the shared counters are within reach: asked of Redis; PostgreSQL has its own check."""
    counters = _counters()
    if not isinstance(counters.storage, PostgresStorage):
        counters.call(lambda storage: storage.get("probe"))
    return not counters.is_away


def address() -> str:
    """The caller's address as it is limited: IPv6 by /64, since a household has that many."""
    text = origin().address
    if text is None:
        return "none"
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return text
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return text


def _own_engine(app: Flask) -> Engine:
    """Connections that commit by themselves, so that what is refused still counts."""
    engine = create_engine(
        app.config["SQLALCHEMY_DATABASE_URI"],
        **{**app.config["SQLALCHEMY_ENGINE_OPTIONS"], "pool_size": 2, "max_overflow": 2},
    )
    watch: Watch = app.extensions["database_watch"]
    watch.over(engine, sockets=app.config["SQLALCHEMY_POOL_PRE_PING"])
    return engine


def _counters() -> Counters:
    counters: Counters = current_app.extensions["counters"]
    return counters


def _key(limit: RateLimitItem, who: str) -> str:
    # Addresses are personal data: the table holds digests.
    digest = hashlib.blake2b(who.encode("utf-8", "replace"), digest_size=16).hexdigest()
    return f"{limit.namespace}/{limit.amount}/{limit.get_expiry()}/{digest}"


def _in_words(seconds: int) -> str:
    """30 seconds, 2 minutes, 5 hours: rounded up, so that nobody comes back too soon."""
    unit, size = ("second", 1) if seconds < 60 else ("minute", 60) if seconds < 7200 else ("hour", 3600)
    count = math.ceil(seconds / size)
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
