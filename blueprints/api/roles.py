"""Roles and permissions, to read."""

from typing import Any

from flask import Blueprint

from blueprints.http.access import permission
from blueprints.http.endpoint import endpoint
from services import role_service
from services.permissions import ROLES_READ
from services.schemas.user import PermissionOut, RoleOut

bp = Blueprint("api_roles", __name__, url_prefix="/api/v1")


@bp.get("/roles")
@endpoint(allow=permission(ROLES_READ), out=list[RoleOut])
def list_roles() -> Any:
    """List the roles and what they allow."""
    return role_service.list_all()


@bp.get("/roles/<string(maxlength=40):name>")
@endpoint(allow=permission(ROLES_READ), out=RoleOut)
def read_role(name: str) -> Any:
    """Read a role."""
    return role_service.get(name)


@bp.get("/permissions")
@endpoint(allow=permission(ROLES_READ), out=list[PermissionOut])
def list_permissions() -> Any:
    """List everything that a role can allow."""
    return role_service.permissions()
