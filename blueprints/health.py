"""Probes: is the process alive, can it serve, what is wrong (docs/operating.md)."""

import hmac
from collections import Counter
from typing import Any

from flask import Blueprint, Response, current_app, request
from pydantic import TypeAdapter

from blueprints.http.access import allow, anyone, bearer, even_impersonated, permission
from blueprints.http.envelope import JSON, timestamp
from services import health_service
from services.errors import DomainError
from services.permissions import SYSTEM_READ

bp = Blueprint("health", __name__, url_prefix="/health")

#: Who sees details, as at /admin/system.
OPERATORS = permission(SYSTEM_READ)
READY = {"pass": "ready", "warn": "degraded", "fail": "not_ready"}

_dump = TypeAdapter(Any).dump_json


@bp.get("")
@allow(even_impersonated(anyone))
def health() -> Response:
    """The process is alive: no database, no sign-in, no host check, no redirect to https."""
    return Response(b'{"status":"healthy","timestamp":"%s"}' % timestamp(), mimetype=JSON)


@bp.get("/ready")
@allow(even_impersonated(anyone))
def ready() -> Response:
    """Whether to send requests here: 503 while the database is away, migrations pend, or the process drains.

    `degraded` is still 200: everything works, something less well.
    """
    is_ready, checks = health_service.ready()
    told = [{"name": check["name"], "status": check["status"]} for check in checks]
    return _answer(READY[health_service.overall(checks)], {"checks": told}, ok=is_ready)


@bp.get("/database")
@allow(even_impersonated(anyone))
def database() -> Response:
    """Whether the database answers; with latency and server version for those who may see details."""
    check = health_service.database()
    is_there = check.pop("status") != "fail"
    details = check if _may_see_details(is_database_there=is_there) else {}
    return _answer("healthy" if is_there else "unhealthy", details, ok=is_there)


@bp.get("/detailed")
@allow(even_impersonated(anyone))
def detailed() -> Response:
    """How everything is that this needs; with every single check for those who may see details."""
    checks = health_service.details()
    status = health_service.overall(checks)
    may_see = _may_see_details(is_database_there=checks[0]["status"] != "fail")
    return _answer(status, {"checks": checks} if may_see else {}, ok=status != "fail")


@bp.get("/blueprints")
@allow(even_impersonated(anyone))
def blueprints() -> Response:
    """That the application is put together; with blueprints and their routes for those who may see details."""
    details = {"blueprints": _registered()} if _may_see_details(is_database_there=True) else {}
    return _answer("healthy", details, ok=True)


def _registered() -> list[dict[str, Any]]:
    counted = Counter(
        rule.endpoint.rpartition(".")[0] for rule in current_app.url_map.iter_rules() if "." in rule.endpoint
    )
    return [{"name": name, "routes": routes} for name, routes in sorted(counted.items())]


def _may_see_details(*, is_database_there: bool) -> bool:
    """Programs with HEALTH_TOKEN, and callers with `system:read`, as long as the database can say who calls."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    token = current_app.config["HEALTH_TOKEN"]
    if token and scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), token.encode()):
        return True
    if not is_database_there:
        return False
    try:
        OPERATORS.check(bearer())
    except DomainError:
        return False
    return True


def _answer(status: str, details: dict[str, Any], *, ok: bool) -> Response:
    told = {"status": status, **details, "timestamp": timestamp().decode()}
    response = Response(_dump(told), status=200 if ok else 503, mimetype=JSON)
    if not ok:
        response.headers["Retry-After"] = "5"
    return response
