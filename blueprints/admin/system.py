"""Administration: how the process and what it needs are doing."""

import platform
from datetime import timedelta
from typing import Any

from flask import Blueprint, render_template

from blueprints.http.access import allow, even_impersonated, permission
from blueprints.http.templates import when
from services import health_service
from services.clock import now
from services.permissions import SYSTEM_READ

bp = Blueprint("admin_system", __name__, url_prefix="/admin/system")


@bp.get("")
@allow(even_impersonated(permission(SYSTEM_READ)))
def index() -> str:
    """Every health check, and what is running."""
    return render_template("admin/system.html", checks=health_service.details(), build=_build())


def _build() -> list[tuple[str, Any]]:
    status = health_service.status()
    return [
        ("Name", status["name"]),
        ("Version", status["version"]),
        ("Commit", status["commit"] or "Not known"),
        ("Environment", status["environment"]),
        ("Python", platform.python_version()),
        ("Started", when(now() - timedelta(seconds=status["uptime_seconds"]))),
    ]
