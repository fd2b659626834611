"""API keys on their page: listed, made, revoked."""

from datetime import timedelta
from uuid import UUID

from flask import Blueprint, Response, url_for

from blueprints.http.access import allow, fresh, signed_in, signed_in_visitor
from blueprints.http.button import press
from blueprints.http.form import Form
from services import api_key_service, role_service
from services.clock import now
from services.schemas.api_key import ApiKeyFormIn, ApiKeyIn, NewApiKeyOut

bp = Blueprint("api_keys", __name__, url_prefix="/account/api-keys")


@bp.route("", methods=["GET", "POST"])
@allow(fresh(signed_in))
def index() -> Response:
    """Your keys; a new one is shown this once, in the answer to the form that made it."""
    by = signed_in_visitor()
    form = Form(ApiKeyFormIn, expires_in_days="90")
    made = form.result if form.submit(_create) else None
    if made is not None:
        form = Form(ApiKeyFormIn, expires_in_days="90")
    return form.render(
        "account/api_keys.html",
        keys=api_key_service.list_of(by.user_id),
        permissions=role_service.list_grantable(by=by),
        made=made,
    )


@bp.post("/<uuid:key_id>/revoke")
@allow(signed_in)
def revoke(key_id: UUID) -> Response:
    """Make one of your keys worthless."""
    by = signed_in_visitor()
    return press(
        lambda: api_key_service.revoke(key_id, by=by),
        message="The key no longer works.",
        back=url_for("api_keys.index"),
    )


def _create(data: ApiKeyFormIn) -> NewApiKeyOut:
    days = data.expires_in_days
    expires_at = None if days == "never" else now() + timedelta(days=int(days))
    wanted = ApiKeyIn(name=data.name, scopes=data.scopes, expires_at=expires_at)
    return api_key_service.create(wanted, by=signed_in_visitor())
