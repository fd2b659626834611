"""Administration: signing in as somebody else, to help."""

from flask import Blueprint, Response, flash, redirect, url_for

from blueprints.http import access
from blueprints.http.access import allow, fresh, permission, signed_in_visitor
from blueprints.http.form import Form, told
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
        return redirect(url_for("admin_users.show", user_id=user_id), 303)  # type: ignore[return-value]  # typed as Werkzeug's
    form = Form(ImpersonateIn)
    if form.submit(lambda data: impersonation_service.start(user_id, data, by=by)):
        access.become(form.result.token, form.result.principal)
        return told(url_for("main.dashboard"), message=f"You see what {user.name} sees.")
    return form.render("admin/user_impersonate.html", user=user)
