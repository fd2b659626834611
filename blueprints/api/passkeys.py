"""One's own passkeys."""

from typing import Any
from uuid import UUID

from flask import Blueprint

from blueprints.http.access import enrolling, fresh, signed_in
from blueprints.http.endpoint import endpoint
from services import factor_service, passkey_service
from services.errors import Conflict, Forbidden, PasskeyNotVerified, PasskeyTaken
from services.principal import Principal
from services.schemas.passkey import (
    PasskeyIn,
    PasskeyMadeOut,
    PasskeyNameIn,
    PasskeyOptionsOut,
    PasskeyOut,
)

bp = Blueprint("api_passkeys", __name__, url_prefix="/api/v1/users/me/passkeys")


@bp.get("")
@endpoint(allow=enrolling, out=list[PasskeyOut])
def list_passkeys(by: Principal) -> Any:
    """List your passkeys, the oldest first."""
    return passkey_service.list_of(by.user_id)


@bp.post("/options")
@endpoint(
    allow=fresh(enrolling),
    out=PasskeyOptionsOut,
    message="Make the passkey with these options.",
    errors=(Conflict,),
)
def begin_adding_passkey(by: Principal) -> Any:
    """Begin to add a passkey.

    The options are for `navigator.credentials.create()`; send its result within five minutes. At most ten passkeys.
    """
    return factor_service.begin_passkey(by=by)


@bp.post("")
@endpoint(
    allow=fresh(enrolling),
    body=PasskeyIn,
    out=PasskeyMadeOut,
    status=201,
    message="The passkey is added.",
    errors=(PasskeyNotVerified, PasskeyTaken, Conflict),
)
def add_passkey(body: PasskeyIn, by: Principal) -> Any:
    """Add a passkey. Your other sessions end.

    With an account's first second step come ten recovery codes, shown this once.
    """
    return factor_service.add_passkey(body, by=by)


@bp.patch("/<uuid:passkey_id>")
@endpoint(allow=fresh(signed_in), body=PasskeyNameIn, out=PasskeyOut, message="The passkey is renamed.")
def rename_passkey(passkey_id: UUID, body: PasskeyNameIn, by: Principal) -> Any:
    """Rename a passkey."""
    return factor_service.rename_passkey(passkey_id, body.name, by=by)


@bp.delete("/<uuid:passkey_id>")
@endpoint(allow=fresh(signed_in), message="The passkey is removed.", errors=(Forbidden,))
def remove_passkey(passkey_id: UUID, by: Principal) -> None:
    """Remove a passkey. Your other sessions end. The last second step stays where one is required."""
    factor_service.remove_passkey(passkey_id, by=by)
