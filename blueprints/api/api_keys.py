"""Keys for programs that act for you without signing in."""

from typing import Any
from uuid import UUID

from flask import Blueprint

from blueprints.http.access import fresh, signed_in
from blueprints.http.endpoint import endpoint
from services import api_key_service
from services.errors import Conflict
from services.principal import Principal
from services.schemas.api_key import ApiKeyIn, ApiKeyOut, NewApiKeyOut

bp = Blueprint("api_api_keys", __name__, url_prefix="/api/v1/users/me/api-keys")


@bp.get("")
@endpoint(allow=fresh(signed_in), out=list[ApiKeyOut])
def list_api_keys(by: Principal) -> Any:
    """List your API keys."""
    return api_key_service.list_of(by.user_id)


@bp.post("")
@endpoint(
    allow=fresh(signed_in),
    body=ApiKeyIn,
    out=NewApiKeyOut,
    status=201,
    message="Keep the key now: it is shown this once.",
    errors=(Conflict,),
)
def create_api_key(body: ApiKeyIn, by: Principal) -> Any:
    """Make an API key.

    It may what its scopes say and you may at that moment, and reads your own account. Send it as a bearer token.
    """
    return api_key_service.create(body, by=by)


@bp.delete("/<uuid:key_id>")
@endpoint(allow=signed_in, message="The key no longer works.")
def revoke_api_key(key_id: UUID, by: Principal) -> None:
    """Revoke an API key; it stops working at once."""
    api_key_service.revoke(key_id, by=by)
