"""Your own data: a copy to take away, and the end of your account."""

from typing import Any

from flask import Blueprint, Response

from blueprints.http.access import fresh, signed_in
from blueprints.http.download import json_file
from blueprints.http.endpoint import endpoint
from services import deletion_service, export_service
from services.base_service import found
from services.errors import Conflict, LastAdmin, NotFound
from services.mail_service import link
from services.principal import Principal
from services.schemas.own_data import DeletionOut, ExportAskedOut, ExportOut

bp = Blueprint("api_own_data", __name__, url_prefix="/api/v1/users/me")


@bp.delete("")
@endpoint(
    allow=fresh(signed_in),
    out=DeletionOut,
    status=202,
    message="Your account will be deleted. Until then you can undo it.",
    errors=(LastAdmin,),
)
def delete_me(by: Principal) -> Any:
    """Delete your own account, after a grace period.

    Your other sessions and every API key end now; this session stays, to undo it or to fetch a copy of your data.
    """
    return DeletionOut(deletes_at=deletion_service.request(by=by))


@bp.post("/restore")
@endpoint(allow=signed_in, message="Your account stays.", errors=(Conflict,))
def restore_me(by: Principal) -> None:
    """Keep your account after all."""
    deletion_service.undo(by=by)


@bp.post("/export")
@endpoint(
    allow=signed_in,
    out=ExportAskedOut,
    status=202,
    message="The copy is being made. A mail tells when it is ready.",
)
def request_export(by: Principal) -> Any:
    """Ask for a copy of everything kept about you, as JSON; at most three a day.

    While one is being made, that one is told. A new copy replaces the former one.
    """
    return export_service.request(by=by)


@bp.get("/export")
@endpoint(allow=signed_in, out=ExportOut, errors=(NotFound,))
def read_export(by: Principal) -> Any:
    """Look how far your copy is.

    Once it is ready, `url` is where to fetch it with a fresh session, until `expires_at`.
    """
    copy = found(export_service.find(by.user_id))
    is_ready = copy.status == "ready"
    return ExportOut(
        status=copy.status,
        url=link("/api/v1/users/me/export/file") if is_ready else None,
        expires_at=copy.expires_at if is_ready else None,
    )


@bp.get("/export/file")
@endpoint(allow=fresh(signed_in), errors=(NotFound,))
def download_export(by: Principal) -> Response:
    """Fetch your copy: a JSON file."""
    return json_file(export_service.download(by=by), "export")
