"""Administration: the audit log."""

from flask import Blueprint, Response, render_template, url_for

from blueprints.http.access import allow, even_impersonated, permission
from blueprints.http.download import csv_file
from blueprints.http.filters import Filters, last_day, plain
from blueprints.http.pagination import Pagination
from blueprints.http.redirects import see_other
from services import audit_service
from services.permissions import AUDIT_READ
from services.schemas.audit import AuditQuery

bp = Blueprint("admin_audit", __name__, url_prefix="/admin")

FILTERS = {
    "action": plain("Event", "filter[action]"),
    "actor": plain("Who (id)", "filter[actor_id]"),
    "target": plain("To whom (id)", "filter[target_id]"),
    "from": plain("From", "filter[from]"),
    "to": last_day("To", "filter[to]"),
}


@bp.get("/audit")
@allow(even_impersonated(permission(AUDIT_READ)))
def index() -> str:
    """What happened, newest first."""
    filters = _filters()
    listing = filters.listing(audit_service.page)
    return render_template(
        "admin/audit.html",
        events=listing.rows,
        actions=_actions(filters.values["action"]),
        filters=filters.values,
        errors=filters.errors,
        pagination=Pagination(listing),
        export_url=url_for("admin_audit.export", **filters.kept),
    )


@bp.get("/audit.csv")
@allow(permission(AUDIT_READ))
def export() -> Response:
    """The newest 10,000 events of the filter as CSV; with a filter that can't be read, the page that says so."""
    filters = _filters()
    if filters.errors:
        return see_other(url_for("admin_audit.index", **filters.kept))
    return csv_file(audit_service.as_csv(filters.query), "audit-log")


def _filters() -> Filters[AuditQuery]:
    return Filters(AuditQuery, FILTERS, cursor="", per_page="50")


def _actions(chosen: str) -> dict[str, str]:
    """Every action in words, and the beginning of several (`account:login`) when that is the filter."""
    known = audit_service.ACTIONS
    return known if chosen in {"", *known} else {**known, chosen: f"{chosen}:…"}
