"""The accounts elsewhere that open one's own."""

from typing import Any
from uuid import UUID

from flask import Blueprint

from blueprints.http.access import fresh, signed_in
from blueprints.http.endpoint import endpoint
from services import identity_service
from services.errors import Conflict
from services.principal import Principal
from services.schemas.identity import IdentityOut

bp = Blueprint("api_identities", __name__, url_prefix="/api/v1/users/me/identities")


@bp.get("")
@endpoint(allow=signed_in, out=list[IdentityOut])
def list_my_identities(by: Principal) -> Any:
    """List the accounts elsewhere that open yours."""
    return identity_service.list_of(by.user_id)


@bp.delete("/<uuid:identity_id>")
@endpoint(
    allow=fresh(signed_in),
    message="It is disconnected. Your other sessions are ended.",
    errors=(Conflict,),
)
def unlink_my_identity(identity_id: UUID, by: Principal) -> None:
    """Disconnect an account elsewhere; never the last way in."""
    identity_service.unlink(identity_id, by=by)
