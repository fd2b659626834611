"""Slow mode: wrong passwords come for the whole site at once, a few for each account (security case A28).

No single account or address shows it, so failures of unknown devices are counted all together. Above SPRAY_LIMIT in
five minutes such devices get fewer tries for a quarter of an hour, and administrators are told. Known devices,
passkeys, issuers and mailed links notice nothing.
"""

import structlog
from flask import current_app
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute

from services import audit_service, mail_service, role_service, throttle_service

log = structlog.get_logger(__name__)

#: Counted together, whoever it was.
EVERYBODY = "everybody"
SLOW = RateLimitItemPerMinute(1, 15, namespace="slow-mode")
ALARM = RateLimitItemPerHour(1, namespace="slow-mode-alarm")


def is_on() -> bool:
    """Whether unknown devices get fewer tries just now."""
    return throttle_service.is_counted(SLOW, EVERYBODY)


def seconds_left() -> float:
    """How long slow mode still lasts if nothing more happens; nothing when it is off."""
    return throttle_service.seconds_left(SLOW, EVERYBODY)


def note_failure() -> None:
    """Count a wrong password of an unknown device; begin or prolong slow mode when there are too many."""
    limit = _limit()
    failures = throttle_service.add(limit, EVERYBODY, 1)
    if failures <= limit.amount:
        return
    throttle_service.add(SLOW, EVERYBODY, 1)
    if throttle_service.allows(ALARM, EVERYBODY):
        _raise_alarm(failures, most=limit.amount)


def _limit() -> RateLimitItem:
    return RateLimitItemPerMinute(current_app.config["SPRAY_LIMIT"], 5, namespace="login-failures")


def _raise_alarm(failures: int, *, most: int) -> None:
    log.error("slow_mode", failures=failures)
    audit_service.record("security:slow_mode", actor_id=None, failures=failures)
    mail_service.send_each("slow_mode", role_service.reachable_admins(), most=str(most))
