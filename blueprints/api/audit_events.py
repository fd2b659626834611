"""The audit log, to read."""

from typing import Any

from flask import Blueprint, Response, request

from blueprints.http.access import permission
from blueprints.http.endpoint import endpoint
from services import audit_service
from services.permissions import AUDIT_READ
from services.schemas.audit import AuditEventOut, AuditQuery

bp = Blueprint("api_audit_events", __name__, url_prefix="/api/v1")


@bp.get("/audit-events")
@endpoint(allow=permission(AUDIT_READ), query=AuditQuery, out=AuditEventOut, also=("text/csv",))
def list_audit_events(query: AuditQuery) -> Any:
    """List what happened, newest first.

    As CSV (the newest 10,000 of the filter) with `Accept: text/csv`.
    """
    if request.accept_mimetypes.best_match(["application/json", "text/csv"]) == "text/csv":
        return Response(audit_service.as_csv(query), mimetype="text/csv")
    return audit_service.page(query)
