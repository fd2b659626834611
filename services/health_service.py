"""How the process and what it needs are doing, for probes and for people (spec of each: docs/operating.md)."""

import logging
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import current_app
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models import db
from models.base import now
from services import outbox_service, slow_mode_service, throttle_service
from services.base_service import probe

SLOW_MS = 250
OUTBOX_LAG_SECONDS = 300
LEAST_FREE_DISK = 0.05
COUNTERS_AWAY = "rate limits are counted by each process for itself"
_REVISION = re.compile(r"^(\d{4})_")


def alive() -> dict[str, Any]:
    """The process answers. Touches nothing."""
    return {"status": "healthy", "timestamp": now()}


def status() -> dict[str, Any]:
    """Name, version, environment, commit and seconds since the start."""
    config = current_app.config
    return {
        "name": config["APP_NAME"],
        "version": config["VERSION"],
        "environment": config["ENVIRONMENT"],
        "commit": config["APP_COMMIT"] or None,
        "uptime_seconds": int(time.time() - current_app.extensions["started_at"]),
    }


def database() -> dict[str, Any]:
    """Whether the database answers, how fast (milliseconds), and its version. Never raises for a database away."""
    began = time.perf_counter()
    try:
        with probe():
            version = db.session.execute(text("SHOW server_version")).scalar_one()
    except SQLAlchemyError as error:
        return {
            "name": "database",
            "status": "fail",
            "detail": type(error).__name__,
            "latency_ms": _since(began),
        }
    took = _since(began)
    return {
        "name": "database",
        "status": "warn" if took > SLOW_MS else "pass",
        "latency_ms": took,
        "server_version": str(version).split(" ")[0],
    }


def migrations() -> dict[str, Any]:
    """Whether the schema is what this code expects. Never raises."""
    began = time.perf_counter()
    expected = newest_revision()
    try:
        with probe():
            current = db.session.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except SQLAlchemyError as error:
        return {
            "name": "migrations",
            "status": "fail",
            "detail": type(error).__name__,
            "latency_ms": _since(began),
        }
    # A newer schema than ours is fine: during a rollback old code runs on it (docs/deployment.md).
    behind = current is None or current < expected
    detail = f"{current or 'none'}, this code needs {expected}" if behind else str(current)
    return {
        "name": "migrations",
        "status": "fail" if behind else "pass",
        "detail": detail,
        "latency_ms": _since(began),
    }


def newest_revision() -> str:
    """The number of the newest migration this code has."""
    folder = Path(current_app.root_path) / "migrations" / "versions"
    return max(
        (match[1] for path in folder.glob("*.py") if (match := _REVISION.match(path.name))), default=""
    )


def is_draining() -> bool:
    """Whether the process is on its way out and wants no new requests."""
    return bool(current_app.extensions["draining"].is_set())


def ready() -> tuple[bool, list[dict[str, Any]]]:
    """Whether requests should be sent here, and the checks that say so."""
    checks = [database()]
    if checks[0]["status"] != "fail":
        checks.append(migrations())
    if not throttle_service.counts_together():
        checks.append({"name": "counters", "status": "warn", "detail": COUNTERS_AWAY})
    if is_draining():
        checks.append({"name": "draining", "status": "fail", "detail": "the process is stopping"})
    return all(check["status"] != "fail" for check in checks), checks


def details() -> list[dict[str, Any]]:
    """Every check, for administrators."""
    checks = [database()]
    if checks[0]["status"] != "fail":
        checks += [migrations(), _checked("outbox", _outbox), _checked("guesses", _guesses)]
    checks += [_checked("counters", _counters), _checked("pool", _pool), _checked("disk", _disk)]
    return [*checks, _checked("log", _log)]


def overall(checks: list[dict[str, Any]]) -> str:
    """The worst of them: pass, warn or fail."""
    found = {check["status"] for check in checks}
    return next((status for status in ("fail", "warn") if status in found), "pass")


def _checked(name: str, check: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        with probe():
            result = check()
    except (SQLAlchemyError, OSError) as error:
        result = {"status": "fail", "detail": type(error).__name__}
    return {"name": name, **result, "latency_ms": _since(began)}


def _outbox() -> dict[str, Any]:
    stats = outbox_service.stats()
    oldest = (now() - stats.oldest_queued_at).total_seconds() if stats.oldest_queued_at else 0
    return {
        "status": "warn" if oldest > OUTBOX_LAG_SECONDS or stats.failed else "pass",
        "detail": f"{stats.queued} waiting, {stats.failed} failed",
        "queued": stats.queued,
        "failed": stats.failed,
        "oldest_unsent_seconds": round(oldest),
    }


def _counters() -> dict[str, Any]:
    if throttle_service.counts_together():
        return {"status": "pass", "detail": "shared by all processes"}
    return {"status": "warn", "detail": COUNTERS_AWAY}


def _guesses() -> dict[str, Any]:
    seconds = slow_mode_service.seconds_left()
    if not seconds:
        return {"status": "pass", "detail": "no more wrong passwords than usual"}
    return {
        "status": "warn",
        "detail": f"wrong passwords for many accounts: unknown devices get fewer tries for {seconds / 60:.0f} minutes",
        "slow_mode_seconds": round(seconds),
    }


def _log() -> dict[str, Any]:
    dropped = sum(getattr(handler, "dropped", 0) for handler in logging.getLogger().handlers)
    return {
        "status": "warn" if dropped else "pass",
        "detail": f"{dropped} lines of this process could not be written",
        "dropped": dropped,
    }


def _pool() -> dict[str, Any]:
    pool: Any = db.engine.pool
    size, used = pool.size(), pool.checkedout()
    return {
        "status": "warn" if used > size else "pass",
        "detail": f"{used} of {size} connections in use",
        "size": size,
        "in_use": used,
    }


def _disk() -> dict[str, Any]:
    usage = shutil.disk_usage(current_app.root_path)
    free = usage.free / usage.total
    return {
        "status": "warn" if free < LEAST_FREE_DISK else "pass",
        "detail": f"{free:.0%} free",
        "free_bytes": usage.free,
    }


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 2)
