"""The second step: an authenticator app and recovery codes."""

from typing import Any

from flask import Blueprint

from blueprints.http.access import enrolling, fresh, signed_in
from blueprints.http.endpoint import endpoint
from services import factor_service, recovery_service
from services.errors import Conflict, InvalidCode, NotFound
from services.principal import Principal
from services.schemas.second_factor import CodeIn, RecoveryCodesLeftOut, RecoveryCodesOut, TotpEnrolmentOut

bp = Blueprint("api_second_factor", __name__, url_prefix="/api/v1/users/me")


@bp.post("/totp")
@endpoint(
    allow=fresh(enrolling),
    out=TotpEnrolmentOut,
    status=201,
    message="Add this to your app, then confirm with its first code.",
    errors=(Conflict,),
)
def enrol_totp(by: Principal) -> Any:
    """Begin to set up an authenticator app.

    Nothing is asked for until a first code was confirmed; another call gives another seed.
    """
    return factor_service.enrol_totp(by=by)


@bp.post("/totp/confirm")
@endpoint(
    allow=enrolling,
    body=CodeIn,
    out=RecoveryCodesOut,
    message="Codes are on. Keep these recovery codes: they are shown this once.",
    errors=(Conflict, InvalidCode),
)
def confirm_totp(body: CodeIn, by: Principal) -> Any:
    """Switch codes on with the first right one; gives ten recovery codes. Your other sessions end."""
    return {"recovery_codes": factor_service.confirm_totp(body.code, by=by)}


@bp.delete("/totp")
@endpoint(allow=fresh(signed_in), body=CodeIn, message="Codes are off.", errors=(InvalidCode, NotFound))
def remove_totp(body: CodeIn, by: Principal) -> None:
    """Switch codes off, with a code. Your other sessions end."""
    factor_service.remove_totp(body.code, by=by)


@bp.get("/recovery-codes")
@endpoint(allow=signed_in, out=RecoveryCodesLeftOut)
def count_recovery_codes(by: Principal) -> Any:
    """Tell how many recovery codes are left."""
    return {"remaining": recovery_service.remaining(by.user_id)}


@bp.post("/recovery-codes")
@endpoint(
    allow=fresh(signed_in),
    out=RecoveryCodesOut,
    message="Keep these recovery codes: they are shown this once. The former ones no longer work.",
    errors=(NotFound,),
)
def renew_recovery_codes(by: Principal) -> Any:
    """Make ten new recovery codes; the former ones stop working."""
    return {"recovery_codes": factor_service.new_recovery_codes(by=by)}
