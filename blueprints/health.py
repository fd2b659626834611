"""Probes: is the process alive, can it serve, what is wrong (docs/operating.md)."""

import hmac
from collections import Counter
from typing import Any

from flask import Blueprint, Response, current_app, request
from pydantic import TypeAdapter

from blueprints.http.access import allow, anyone, bearer, even_impersonated
from blueprints.http.envelope import JSON, timestamp
from services import health_service
from services.errors import DomainError
from services.permissions import SYSTEM_READ

bp = Blueprint("health", __name__, url_prefix="/health")

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
    status = READY[health_service.overall(checks)]
    told = [{"name": check["name"], "status": check["status"]} for check in checks]
    return _answer({"status": status, "checks": told}, ok=is_ready)


@bp.get("/database")
@allow(even_impersonated(anyone))
def database() -> Response:
    """Whether the database answers, with latency and server version."""
    check = health_service.database()
    check["status"], ok = ("healthy", True) if check["status"] != "fail" else ("unhealthy", False)
    return _answer(check, ok=ok)


@bp.get("/detailed")
@allow(even_impersonated(anyone))
def detailed() -> Response:
    """Every dependency. Details for administrators' tokens or HEALTH_TOKEN, the status alone for others."""
    checks = health_service.details()
    status = health_service.overall(checks)
    told: dict[str, Any] = {"status": status}
    if _may_see_details():
        told["checks"] = checks
    return _answer(told, ok=status != "fail")


@bp.get("/blueprints")
@allow(even_impersonated(anyone))
def blueprints() -> Response:
    """The registered blueprints with the number of their routes."""
    counted = Counter(
        rule.endpoint.rpartition(".")[0] for rule in current_app.url_map.iter_rules() if "." in rule.endpoint
    )
    listed = [{"name": name, "routes": routes} for name, routes in sorted(counted.items())]
    return _answer({"status": "healthy", "blueprints": listed}, ok=True)


def _may_see_details() -> bool:
    token = current_app.config["HEALTH_TOKEN"]
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token and hmac.compare_digest(given.encode(), token.encode()):
        return True
    try:
        return bearer().can(SYSTEM_READ)
    except DomainError:
        return False


def _answer(told: dict[str, Any], *, ok: bool) -> Response:
    told["timestamp"] = timestamp().decode()
    response = Response(_dump(told), status=200 if ok else 503, mimetype=JSON)
    if not ok:
        response.headers["Retry-After"] = "5"
    return response
