"""Each caller's budget of API calls a minute, told in RateLimit headers.

A call counts in this process at once, and the processes settle with the shared counters after a twentieth of the
budget: exact to within so many calls a process, and the others cost no statement (ADR-006).
"""

import threading
import time
from dataclasses import dataclass

from flask import current_app
from limits import RateLimitItemPerMinute

from services import throttle_service
from services.errors import RateLimited
from services.principal import Principal

#: Calls between two settlements, at least and at most.
LEAST, MOST = 20, 60
MOST_CALLERS = 10_000
WINDOW_SECONDS = 60


@dataclass(slots=True)
class _Account:
    """One caller in one window: what everybody counted, and what this process has not told yet."""

    window: int
    shared: int = 0
    own: int = 0


_accounts: dict[str, _Account] = {}
_lock = threading.Lock()


def spend(by: Principal | None) -> dict[str, str]:
    """Count this call; the headers that tell what is left. Raises RateLimited."""
    if not current_app.config["RATELIMIT_ENABLED"]:
        return {}
    limit: int = current_app.config["API_REQUESTS_PER_MINUTE"]
    who = f"user:{by.user_id}" if by else f"address:{throttle_service.address()}"
    window, second = divmod(int(time.time()), WINDOW_SECONDS)
    used, to_settle = _count(who, window, settle_every=min(MOST, max(LEAST, limit // 20)))
    if to_settle:
        used = _settle(who, window, to_settle, limit)
    left = WINDOW_SECONDS - second
    if used > limit:
        raise RateLimited("Too many calls. Wait a little.", retry_after_seconds=left)
    return {
        "RateLimit-Limit": str(limit),
        "RateLimit-Remaining": str(max(0, limit - used)),
        "RateLimit-Reset": str(left),
    }


def reset() -> None:
    """Forget every count of this process."""
    with _lock:
        _accounts.clear()


def _count(who: str, window: int, *, settle_every: int) -> tuple[int, int]:
    with _lock:
        account = _accounts.get(who)
        if account is None or account.window != window:
            if len(_accounts) >= MOST_CALLERS:
                _accounts.clear()
            account = _accounts[who] = _Account(window)
        account.own += 1
        to_settle = account.own if account.own >= settle_every else 0
        if to_settle:
            account.own = 0
        return account.shared + account.own + to_settle, to_settle


def _settle(who: str, window: int, amount: int, limit: int) -> int:
    item = RateLimitItemPerMinute(limit, namespace="api")
    shared = throttle_service.add(item, f"{who}:{window}", amount)
    with _lock:
        account = _accounts.get(who)
        if account is not None and account.window == window:
            account.shared = shared
            return shared + account.own
    return shared
