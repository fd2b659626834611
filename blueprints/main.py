"""The home page and the dashboard."""

from flask import Blueprint, render_template

from blueprints.http.access import allow, anyone, even_impersonated, signed_in, signed_in_visitor
from services import audit_service, dashboard_service

bp = Blueprint("main", __name__)


@bp.get("/")
@allow(even_impersonated(anyone))
def home() -> str:
    """What this is."""
    return render_template("main/home.html")


@bp.get("/dashboard")
@allow(even_impersonated(signed_in))
def dashboard() -> str:
    """What is yours: account, devices, latest events."""
    yours = dashboard_service.of(signed_in_visitor())
    return render_template(
        "main/dashboard.html",
        user=yours.user,
        devices_count=yours.user.devices_count,
        events=yours.events,
        actions=audit_service.OWN_ACTIONS,
        counts=yours.counts,
    )
