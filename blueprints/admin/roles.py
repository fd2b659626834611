"""Administration: roles and what they allow, to look at."""

from flask import Blueprint, render_template

from blueprints.http.access import allow, permission
from services import role_service
from services.permissions import ROLES_READ

bp = Blueprint("admin_roles", __name__, url_prefix="/admin/roles")


@bp.get("")
@allow(permission(ROLES_READ))
def index() -> str:
    """Every role, how many hold it, and a matrix of permissions."""
    return render_template(
        "admin/roles.html",
        roles=role_service.list_all(),
        counts=role_service.holders(),
        permissions=role_service.permissions(),
    )
