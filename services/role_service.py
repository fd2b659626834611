"""Roles: read here, and the promise that somebody can always administer."""

from sqlalchemy import func, select

from models import Role, User, db
from models.base import AnyRow
from services.base_service import found
from services.errors import Forbidden, Invalid, LastAdmin
from services.permissions import PERMISSIONS
from services.principal import Principal

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


def names() -> list[str]:
    """The names that an account can be given."""
    return list(db.session.scalars(select(Role.name).order_by(Role.name)))


def holders() -> dict[str, int]:
    """How many accounts hold each role; roles that nobody holds are left out. One statement."""
    counted = db.session.execute(select(User.role, func.count()).group_by(User.role)).all()
    return {row[0]: row[1] for row in counted}


def list_givable(*, by: Principal) -> list[AnyRow]:
    """The roles that `by` may give to others: those that allow nothing he may not do himself."""
    return [role for role in list_all() if by.permissions.issuperset(role.permissions)]


def check_may_give(name: str, *, by: Principal | None) -> None:
    """Raise Invalid, naming the roles there are, for an unknown one; Forbidden for one that allows more than `by` may.

    `by` is None for the command line, which may do everything.
    """
    known = {role.name: role for role in list_all()}
    if name not in known:
        raise Invalid.field("role", f"Must be one of: {', '.join(known)}", "unknown_role")
    if by is not None and not by.permissions.issuperset(known[name].permissions):
        raise Forbidden("This role allows more than your own.")


def check_may_manage(user: User, *, by: Principal | None) -> None:
    """Raise Forbidden when `user` may do what `by` may not: whoever could take over that account would be promoted."""
    if by is None or by.user_id == user.id:
        return
    allowed = db.session.scalar(select(Role.permissions).where(Role.name == user.role)) or []
    if not by.permissions.issuperset(allowed):
        raise Forbidden("This account may do more than your own.")


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
