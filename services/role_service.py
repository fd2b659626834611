"""Roles: read, made, changed and deleted; and the promises that nobody grants what he lacks, and that somebody can
always administer.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import func, select

from models import Role, User, db
from models.base import AnyRow, now
from services import audit_service
from services.base_service import constraint_means, flush, found, insert_new
from services.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LastAdmin,
    PreconditionFailed,
    RoleExists,
    RoleGone,
    RoleInUse,
)
from services.permissions import PERMISSIONS, reaches_others
from services.principal import Principal
from services.schemas.base import etag_of
from services.schemas.role import RoleCreateIn, RoleOut, RoleUpdateIn

constraint_means("pk_roles", RoleExists)
constraint_means("fk_users_role", RoleGone)

ADMIN = "admin"
MEMBER = "member"
_COLUMNS = (
    Role.name,
    Role.description,
    Role.permissions,
    Role.is_built_in,
    Role.created_at,
    Role.updated_at,
)


def list_all() -> list[AnyRow]:
    """Every role by name."""
    return list(db.session.execute(select(*_COLUMNS).order_by(Role.name)).all())


def get(name: str) -> AnyRow:
    """One role. Raises NotFound."""
    return found(db.session.execute(select(*_COLUMNS).where(Role.name == name)).first())


def permissions() -> list[dict[str, str]]:
    """Every permission code with its meaning."""
    return [{"code": code, "description": description} for code, description in PERMISSIONS.items()]


def list_grantable(*, by: Principal) -> list[dict[str, str]]:
    """The permissions that `by` may put into a role: his own."""
    return [permission for permission in permissions() if by.can(permission["code"])]


def names() -> list[str]:
    """The names that an account can be given."""
    return list(db.session.scalars(select(Role.name).order_by(Role.name)))


def holders() -> dict[str, int]:
    """How many accounts hold each role; roles that nobody holds are left out. One statement."""
    counted = db.session.execute(select(User.role, func.count()).group_by(User.role)).all()
    return {row[0]: row[1] for row in counted}


def list_givable(*, by: Principal) -> list[AnyRow]:
    """The roles that `by` may give to others: those that allow nothing he may not do himself."""
    return [role for role in list_all() if _is_within(role.permissions, by)]


def create(data: RoleCreateIn, *, by: Principal) -> Role:
    """Make a role. Raises RoleExists, Invalid (unknown permissions) or Forbidden (permissions that `by` lacks)."""
    _check_grantable(data.permissions, by=by)
    role = insert_new(
        Role,
        RoleExists,
        name=data.name,
        description=data.description,
        permissions=_in_order(data.permissions),
    )
    audit_service.record("role:create", actor_id=by.user_id, role=role.name, after=_told(role))
    return role


def update(name: str, data: RoleUpdateIn, *, by: Principal, expected: frozenset[str] | None = None) -> Role:
    """Change what was sent; it counts at the next request of each holder.

    Raises NotFound, PreconditionFailed, Forbidden (a role above `by`, before or after), Invalid (unknown permissions),
    RoleExists, or Conflict for the name of a built-in role and for what administrators may.
    """
    role = _load_managed(name, by=by)
    _check_expected(role, expected)
    changes = data.model_dump(exclude_unset=True)
    if "permissions" in changes:
        _check_grantable(changes["permissions"], by=by)
        changes["permissions"] = _in_order(changes["permissions"])
    before = _told(role)
    _check_built_in(role, before | changes)
    if changes.get("name", name) != name and changes["name"] in names():
        raise RoleExists
    for field, value in changes.items():
        setattr(role, field, value)
    after = _told(role)
    if after != before:
        role.updated_at = now()
        flush()  # RoleExists, when somebody took the name at this instant
        audit_service.record("role:update", actor_id=by.user_id, role=name, before=before, after=after)
    return role


def delete(name: str, *, by: Principal, expected: frozenset[str] | None = None) -> None:
    """Delete a role that nobody holds.

    Raises NotFound, PreconditionFailed, Forbidden (a role above `by`), RoleInUse, or Conflict for a built-in role. The
    row is locked first: whoever is being given the role at this instant is waited for, and counts.
    """
    role = _load_managed(name, by=by)
    _check_expected(role, expected)
    if role.is_built_in:
        raise Conflict("This role is built in and stays.")
    if db.session.scalar(select(func.count()).select_from(User).where(User.role == name)):
        raise RoleInUse
    db.session.delete(role)
    audit_service.record("role:delete", actor_id=by.user_id, role=name, before=_told(role))


def reachable_admins(*, but: int | None = None) -> list[tuple[str, str]]:
    """Address and name of every administrator who can be sure to be one: confirmed, and not shut out himself."""
    statement = select(User.email, User.name).where(
        User.role == ADMIN,
        User.is_active,
        User.email_verified,
        User.frozen_at.is_(None),
        User.id != (but or 0),
    )
    return [(row.email, row.name) for row in db.session.execute(statement.order_by(User.id)).all()]


def check_may_give(name: str, *, by: Principal | None) -> list[str]:
    """What this role allows. Raises Invalid, naming the roles there are, for an unknown one; Forbidden for one that
    allows more than `by` may.

    `by` is None for the command line, which may do everything.
    """
    known = {role.name: role for role in list_all()}
    if name not in known:
        raise Invalid.field("role", f"Must be one of: {', '.join(known)}", "unknown_role")
    allowed: list[str] = known[name].permissions
    _check_within(allowed, by=by, refusal="This role allows more than your own.")
    return allowed


def check_may_manage(user: User, *, by: Principal | None) -> None:
    """Raise Forbidden when `user` may do what `by` may not: whoever could take over that account would be promoted."""
    if not may_manage(user, by=by):
        raise Forbidden("This account may do more than your own.")


def may_manage(user: User, *, by: Principal | None) -> bool:
    """Whether `user` is `by` himself or may do nothing that `by` may not."""
    if by is None or by.user_id == user.id:
        return True
    return _is_within(_permissions_of(user), by)


def is_mighty(user: User) -> bool:
    """Whether an account's role allows anything beyond the account itself."""
    return reaches_others(_permissions_of(user))


def keep_an_admin(user: User) -> None:
    """Raise LastAdmin when `user`, about to lose the role or the account, is the last active administrator.

    One who has asked to be deleted does not count as staying.
    Locks the admin role's row first: of two people who do this at the same instant, one waits and is told.
    """
    if user.role != ADMIN or not user.is_active:
        return
    db.session.execute(select(Role.name).where(Role.name == ADMIN).with_for_update())
    others = db.session.scalar(
        select(func.count())
        .select_from(User)
        .where(User.role == ADMIN, User.is_active, User.deletes_at.is_(None), User.id != user.id)
    )
    if not others:
        raise LastAdmin


def _permissions_of(user: User) -> list[str]:
    return db.session.scalar(select(Role.permissions).where(Role.name == user.role)) or []


def _is_within(permissions: Collection[str], by: Principal | None) -> bool:
    """The one rule behind giving roles, managing accounts and changing roles: nobody reaches above himself."""
    return by is None or by.permissions.issuperset(permissions)


def _check_within(permissions: Collection[str], *, by: Principal | None, refusal: str) -> None:
    if not _is_within(permissions, by):
        raise Forbidden(refusal)


def _check_grantable(permissions: Collection[str], *, by: Principal) -> None:
    if not PERMISSIONS.keys() >= set(permissions):
        raise Invalid.field("permissions", f"Choose from: {', '.join(PERMISSIONS)}", "unknown_permission")
    _check_within(permissions, by=by, refusal="You can allow only what you may do yourself.")


def _check_built_in(role: Role, wanted: dict[str, Any]) -> None:
    if role.is_built_in and wanted["name"] != role.name:
        raise Conflict("This role is built in and keeps its name.")
    if role.name == ADMIN and not set(wanted["permissions"]) >= set(role.permissions):
        raise Conflict("Administrators keep every permission.")


def _check_expected(role: Role, expected: frozenset[str] | None) -> None:
    """Raise PreconditionFailed when the role is no longer what the caller has read (RFC 9110 section 13.1.1)."""
    if (
        expected is not None
        and etag_of(RoleOut.model_validate(role).model_dump_json().encode()) not in expected
    ):
        raise PreconditionFailed


def _load_managed(name: str, *, by: Principal) -> Role:
    role = found(db.session.scalar(select(Role).where(Role.name == name).with_for_update()))
    _check_within(role.permissions, by=by, refusal="This role allows more than your own.")
    return role


def _in_order(permissions: Collection[str]) -> list[str]:
    """As the list of all permissions has them, each once."""
    return [code for code in PERMISSIONS if code in permissions]


def _told(role: Role) -> dict[str, Any]:
    return {"name": role.name, "description": role.description, "permissions": list(role.permissions)}
