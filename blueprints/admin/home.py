"""Administration: where it begins."""

from flask import Blueprint, Response, url_for

from blueprints.http.access import allow, even_impersonated, signed_in, signed_in_visitor
from blueprints.http.redirects import see_other
from services.errors import Forbidden
from services.permissions import AUDIT_READ, MAIL_READ, ROLES_READ, SYSTEM_READ, USERS_READ

bp = Blueprint("admin", __name__, url_prefix="/admin")

#: In the order of the tabs.
SECTIONS = {
    USERS_READ: "admin_users.index",
    ROLES_READ: "admin_roles.index",
    AUDIT_READ: "admin_audit.index",
    MAIL_READ: "admin_outbox.index",
    SYSTEM_READ: "admin_system.index",
}


@bp.get("")
@allow(even_impersonated(signed_in))
def index() -> Response:
    """On to the first section that the visitor may see: users, for most."""
    by = signed_in_visitor()
    for code, endpoint in SECTIONS.items():
        if by.can(code):
            return see_other(url_for(endpoint))
    raise Forbidden
