"""Roles and permissions."""

from typing import Any

from flask import Blueprint

from blueprints.http.access import fresh, permission
from blueprints.http.endpoint import endpoint
from services import role_service
from services.errors import Conflict, RoleExists, RoleInUse
from services.permissions import ROLES_READ, ROLES_WRITE
from services.principal import Principal
from services.schemas.role import PermissionOut, RoleCreateIn, RoleOut, RoleUpdateIn

bp = Blueprint("api_roles", __name__, url_prefix="/api/v1")

Tags = frozenset[str] | None


@bp.get("/roles")
@endpoint(allow=permission(ROLES_READ), out=list[RoleOut])
def list_roles() -> Any:
    """List the roles and what they allow."""
    return role_service.list_all()


@bp.post("/roles")
@endpoint(
    allow=fresh(permission(ROLES_WRITE)),
    body=RoleCreateIn,
    out=RoleOut,
    status=201,
    message="The role is made.",
    errors=(RoleExists,),
)
def create_role(body: RoleCreateIn, by: Principal) -> Any:
    """Make a role of your own, which allows nothing that you may not do yourself."""
    return role_service.create(body, by=by)


@bp.get("/roles/<string(maxlength=40):name>")
@endpoint(allow=permission(ROLES_READ), out=RoleOut)
def read_role(name: str) -> Any:
    """Read a role."""
    return role_service.get(name)


@bp.patch("/roles/<string(maxlength=40):name>")
@endpoint(
    allow=fresh(permission(ROLES_WRITE)),
    body=RoleUpdateIn,
    out=RoleOut,
    message="The role is changed.",
    errors=(Conflict, RoleExists),
)
def update_role(name: str, body: RoleUpdateIn, by: Principal, expected: Tags) -> Any:
    """Change a role; it counts at the next request of each holder.

    Built-in roles keep their names, and administrators every permission.
    """
    return role_service.update(name, body, by=by, expected=expected)


@bp.delete("/roles/<string(maxlength=40):name>")
@endpoint(allow=fresh(permission(ROLES_WRITE)), message="The role is deleted.", errors=(Conflict, RoleInUse))
def delete_role(name: str, by: Principal, expected: Tags) -> None:
    """Delete a role of your own that nobody holds."""
    role_service.delete(name, by=by, expected=expected)


@bp.get("/permissions")
@endpoint(allow=permission(ROLES_READ), out=list[PermissionOut])
def list_permissions() -> Any:
    """List everything that a role can allow."""
    return role_service.permissions()
