"""Administration: roles and what they allow."""

from flask import Blueprint, Response, render_template, request, url_for

from blueprints.http import matrix
from blueprints.http.access import allow, even_impersonated, fresh, permission, signed_in_visitor
from blueprints.http.button import Pressed
from blueprints.http.form import Form, told
from services import role_service
from services.permissions import ROLES_READ, ROLES_WRITE
from services.schemas.role import RoleCreateIn, RoleFormIn, RoleUpdateIn

bp = Blueprint("admin_roles", __name__, url_prefix="/admin/roles")

NAME = "<string(maxlength=40):name>"


@bp.get("")
@allow(even_impersonated(permission(ROLES_READ)))
def index() -> str:
    """Every role, how many hold it, and a matrix of permissions."""
    return render_template(
        "admin/roles.html",
        roles=role_service.list_all(),
        counts=role_service.holders(),
        permissions=role_service.permissions(),
    )


@bp.get("/matrix", endpoint="matrix")
@allow(even_impersonated(permission(ROLES_READ)))
def who_may_what() -> str:
    """Every address of the site and of the API, and which roles may use it: from the code itself."""
    shows_pages = request.args.get("show") == "pages"
    return render_template(
        "admin/matrix.html",
        addresses=[address for address in matrix.addresses() if address.is_api != shows_pages],
        roles=role_service.list_all(),
        shows_pages=shows_pages,
    )


@bp.route("/new", methods=["GET", "POST"])
@allow(fresh(permission(ROLES_WRITE)))
def create() -> Response:
    """Make a role."""
    by = signed_in_visitor()
    form = Form(RoleFormIn)
    if form.submit(lambda data: role_service.create(RoleCreateIn(**data.model_dump()), by=by)):
        return _back(f"The role {form.result.name} is made.")
    return form.render("admin/role_new.html", permissions=role_service.list_grantable(by=by))


@bp.route(f"/{NAME}/edit", methods=["GET", "POST"])
@allow(fresh(permission(ROLES_WRITE)))
def edit(name: str) -> Response:
    """Change a role: it counts at the next request of each holder."""
    by = signed_in_visitor()
    role = role_service.get(name)
    form = Form(RoleFormIn, name=role.name, description=role.description, permissions=role.permissions)
    if form.submit(lambda data: role_service.update(name, RoleUpdateIn(**data.model_dump()), by=by)):
        return _back(f"The role {form.result.name} is changed.")
    return form.render(
        "admin/role_edit.html",
        role=role,
        holders=role_service.holders().get(name, 0),
        permissions=role_service.list_grantable(by=by),
        keeps_permissions=role.name == role_service.ADMIN,
    )


@bp.route(f"/{NAME}/delete", methods=["GET", "POST"])
@allow(fresh(permission(ROLES_WRITE)))
def delete(name: str) -> Response:
    """Ask once, then delete a role that nobody holds."""
    by = signed_in_visitor()
    role = role_service.get(name)
    form = Form(Pressed)
    if form.submit(lambda _: role_service.delete(name, by=by)):
        return _back(f"The role {name} is deleted.")
    return form.render("admin/role_delete.html", role=role, holders=role_service.holders().get(name, 0))


def _back(message: str) -> Response:
    return told(url_for("admin_roles.index"), message=message)
