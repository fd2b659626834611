"""Administration: signing in as somebody else, to help."""

from flask import Blueprint, Response, flash, url_for

from blueprints.http import access
from blueprints.http.access import allow, fresh, permission, signed_in_visitor
from blueprints.http.form import Form, told
from blueprints.http.redirects import see_other
from services import impersonation_service
from services.permissions import USERS_IMPERSONATE
from services.schemas.user import ImpersonateIn

bp = Blueprint("admin_impersonation", __name__, url_prefix="/admin")


@bp.route("/users/<id:user_id>/impersonate", methods=["GET", "POST"])
@allow(fresh(permission(USERS_IMPERSONATE)))
def start(user_id: int) -> Response:
    """Ask why, then sign the visitor in as this person for half an hour; the person is told."""
    by = signed_in_visitor()
    user = impersonation_service.find(user_id, by=by)
    if why_not := impersonation_service.obstacle(user, by=by):
        flash(why_not, "danger")
        return see_other(url_for("admin_users.show", user_id=user_id))
    form = Form(ImpersonateIn)
    if form.submit(lambda data: impersonation_service.start(user_id, data, by=by)):
        access.become(form.result.token, form.result.principal)
        return told(url_for("main.dashboard"), message=f"You see what {user.name} sees.")
    return form.render("admin/user_impersonate.html", user=user)
