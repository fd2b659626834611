"""Administration: accounts."""

from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, flash, render_template, url_for

from blueprints.http.access import allow, even_impersonated, fresh, permission, signed_in_visitor
from blueprints.http.button import Pressed, press
from blueprints.http.download import csv_file
from blueprints.http.filters import Filters, choices, one_of, plain
from blueprints.http.form import Form, told
from blueprints.http.pagination import Pagination, sort_url
from blueprints.http.redirects import see_other
from services import (
    audit_service,
    auth_service,
    factor_service,
    role_service,
    session_service,
    suspension_service,
    user_service,
)
from services.permissions import USERS_IMPERSONATE, USERS_READ, USERS_WRITE
from services.principal import Principal
from services.schemas.user import (
    DeleteUserIn,
    InviteIn,
    RoleIn,
    SuspendFormIn,
    UserCreateIn,
    UserQuery,
    UserUpdateIn,
)

bp = Blueprint("admin_users", __name__, url_prefix="/admin")

#: As the state of an account is shown in the list.
STATUSES = {
    "active": {"filter[is_active]": "true", "filter[email_verified]": "true"},
    "unverified": {"filter[is_active]": "true", "filter[email_verified]": "false"},
    "suspended": {"filter[is_active]": "false"},
}
RECENT_EVENTS = 10
NOT_ONESELF = "This is your own account. Another administrator can do this."


@bp.get("/users")
@allow(even_impersonated(permission(USERS_READ)))
def index() -> str:
    """Every account: searched, filtered, sorted, a page at a time."""
    roles = role_service.names()
    filters = _filters(roles)
    listing = filters.listing(user_service.page)
    return render_template(
        "admin/users.html",
        users=listing.rows,
        roles=roles,
        filters=filters.values,
        errors=filters.errors,
        sort=filters.sort,
        sort_url=lambda key: sort_url(key, filters.sort),
        pagination=Pagination(listing),
        export_url=url_for("admin_users.export", **filters.kept),
    )


@bp.get("/users.csv")
@allow(permission(USERS_READ))
def export() -> Response:
    """The accounts of the filter as CSV; with a filter that can't be read, the page that says so."""
    filters = _filters(role_service.names())
    if filters.errors:
        return see_other(url_for("admin_users.index", **filters.kept))
    return csv_file(user_service.as_csv(filters.query), "users")


@bp.route("/users/new", methods=["GET", "POST"])
@allow(fresh(permission(USERS_WRITE)))
def create() -> Response:
    """Invite somebody: the account is made, and a link mailed with which the person sets a password."""
    by = signed_in_visitor()
    form = Form(InviteIn, role=role_service.MEMBER)
    if form.submit(lambda data: user_service.create(UserCreateIn(**data.model_dump()), by=by)):
        return _back(form.result.id, f"An invitation is on its way to {form.result.email}.")
    return form.render("admin/user_new.html", roles=role_service.list_givable(by=by))


@bp.get("/users/<id:user_id>")
@allow(even_impersonated(permission(USERS_READ)))
def show(user_id: int) -> Response:
    """One account: who it is, where it is signed in, what happened to it."""
    user = user_service.get(user_id, by=signed_in_visitor())
    return _page(user, Form(RoleIn, role=user.role))


@bp.post("/users/<id:user_id>/role", endpoint="role")
@allow(fresh(permission(USERS_WRITE)))
def change_role(user_id: int) -> Response:
    """Give another role."""
    by = signed_in_visitor()
    user = user_service.get(user_id, by=by)
    form = Form(RoleIn, role=user.role)
    if not form.submit(lambda data: user_service.update(user_id, UserUpdateIn(role=data.role), by=by)):
        return _page(user, form)
    message = f"{form.result.name} has the role {form.result.role} now."
    if user_id == by.user_id:  # administration may be closed to him now
        return told(url_for("main.dashboard"), message=message)
    return _back(user_id, message)


@bp.route("/users/<id:user_id>/suspend", methods=["GET", "POST"])
@allow(permission(USERS_WRITE))
def suspend(user_id: int) -> Response:
    """Ask why, then suspend: the sessions end, the person is told."""
    by = signed_in_visitor()
    user = user_service.get(user_id, by=by)
    if user_id == by.user_id:
        return _refuse(user_id, NOT_ONESELF)
    if not user.is_active:
        return _refuse(user_id, "This account is suspended already.")
    form = Form(SuspendFormIn)
    if form.submit(lambda data: _suspend(user_id, data, by)):
        return _back(user_id, f"{user.name} is suspended, and signed out everywhere.")
    return _confirm("admin/user_suspend.html", user, form)


@bp.post("/users/<id:user_id>/reinstate")
@allow(permission(USERS_WRITE))
def reinstate(user_id: int) -> Response:
    """Let a suspended person in again."""
    return _press(user_id, user_service.reinstate, "The account is reinstated. The person is told by mail.")


@bp.post("/users/<id:user_id>/sessions/end")
@allow(permission(USERS_WRITE))
def end_sessions(user_id: int) -> Response:
    """Sign somebody out everywhere."""
    return _press(user_id, user_service.end_sessions, "Signed out everywhere.")


@bp.post("/users/<id:user_id>/sessions/<uuid:session_id>/end")
@allow(permission(USERS_WRITE))
def end_session(user_id: int, session_id: UUID) -> Response:
    """Sign somebody out on one device."""
    by = signed_in_visitor()
    return press(
        lambda: user_service.end_session(user_id, session_id, by=by),
        message="The device is signed out.",
        back=url_for("admin_users.show", user_id=user_id),
    )


@bp.post("/users/<id:user_id>/reset-password")
@allow(permission(USERS_WRITE))
def reset_password(user_id: int) -> Response:
    """Mail a link with which the person sets a password; nobody else ever does."""
    return _press(user_id, auth_service.send_reset, "The link is on its way to the address of the account.")


@bp.route("/users/<id:user_id>/delete", methods=["GET", "POST"])
@allow(permission(USERS_WRITE))
def delete(user_id: int) -> Response:
    """Ask for the visitor's own password, then delete the account for good."""
    by = signed_in_visitor()
    user = user_service.get(user_id, by=by)
    if user_id == by.user_id:
        return _refuse(user_id, NOT_ONESELF)
    form = Form(DeleteUserIn)
    if form.submit(lambda data: auth_service.delete_user(user_id, data, by=by)):
        return told(url_for("admin_users.index"), message=f"The account of {user.name} is deleted.")
    return _confirm("admin/user_delete.html", user, form)


@bp.route("/users/<id:user_id>/reset-factors", methods=["GET", "POST"])
@allow(fresh(permission(USERS_WRITE)))
def reset_factors(user_id: int) -> Response:
    """Ask once, then take away somebody's second step, who has lost it."""
    by = signed_in_visitor()
    user = user_service.get(user_id, by=by)
    if user_id == by.user_id:
        return _refuse(user_id, NOT_ONESELF)
    form = Form(Pressed)
    if form.submit(lambda _: factor_service.reset(user_id, by=by)):
        return _back(user_id, f"The second step of {user.name} is reset. The person is told by mail.")
    return _confirm("admin/user_reset_factors.html", user, form)


def _suspend(user_id: int, data: SuspendFormIn, by: Principal) -> Any:
    until = datetime.combine(data.until, time.min, UTC) if data.until else None
    return user_service.suspend(user_id, data.reason, until=until, by=by)


def _filters(roles: list[str]) -> Filters[UserQuery]:
    known = {
        "q": plain("Search", "q"),
        "role": one_of("Role", choices(roles, "filter[role]")),
        "status": one_of("Status", STATUSES),
    }
    return Filters(UserQuery, known)


def _page(user: Any, form: Form) -> Response:
    by = signed_in_visitor()
    givable = role_service.list_givable(by=by)
    return form.render(
        "admin/user.html",
        user=user,
        suspension=None if user.is_active else suspension_service.find(user.id),
        sessions=session_service.list_of(user.id, current=by.session_id),
        events=audit_service.latest_about(user.id, count=RECENT_EVENTS),
        actions=audit_service.ACTIONS,
        roles=givable,
        is_self=user.id == by.user_id,
        may_impersonate=_may_impersonate(user, {role.name for role in givable}, by),
        has_second_step=bool(factor_service.methods(user.id)),
    )


def _may_impersonate(user: Any, givable: set[str], by: Principal) -> bool:
    """Whether to offer it; the last word has `impersonation_service`."""
    is_open = user.is_active and user.frozen_at is None and user.role in givable and user.id != by.user_id
    return is_open and by.impersonator_id is None and by.can(USERS_IMPERSONATE)


def _confirm(template: str, user: Any, form: Form) -> Response:
    sessions = session_service.list_of(user.id, current=None)
    return form.render(template, user=user, sessions_count=len(sessions))


def _press(user_id: int, act: Callable[..., Any], message: str) -> Response:
    by = signed_in_visitor()
    return press(
        lambda: act(user_id, by=by), message=message, back=url_for("admin_users.show", user_id=user_id)
    )


def _back(user_id: int, message: str) -> Response:
    return told(url_for("admin_users.show", user_id=user_id), message=message)


def _refuse(user_id: int, message: str) -> Response:
    flash(message, "danger")
    return see_other(url_for("admin_users.show", user_id=user_id))
