"""Being signed in as somebody else: the way back. The way there is in the administration."""

from flask import Blueprint, Response, url_for

from blueprints.http import access
from blueprints.http.access import allow, even_impersonated, leaving, signed_in_visitor
from blueprints.http.form import told
from blueprints.http.redirects import see_other
from services import impersonation_service

bp = Blueprint("impersonation", __name__, url_prefix="/impersonation")


@bp.post("/stop")
@allow(even_impersonated(leaving))
def stop() -> Response:
    """Be oneself again: back to one's own session, on the page of the person."""
    by = signed_in_visitor()
    if by.impersonator_id is None:
        return see_other(url_for("main.dashboard"))
    own = impersonation_service.stop(by=by)
    if own is None:  # in another tab, at this very instant: the cookie of that answer is the one that counts
        return see_other(url_for("main.dashboard"))
    access.become(own.token, own.principal)
    return told(
        url_for("admin_users.show", user_id=by.user_id), message="You are signed in as yourself again."
    )
