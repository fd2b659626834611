"""Roles: read here, and the promise that somebody can always administer."""

from sqlalchemy import func, select

from models import Role, User, db
from models.base import AnyRow
from services.base_service import found
from services.errors import Invalid, LastAdmin
from services.permissions import PERMISSIONS

ADMIN = "admin"
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


def check_exists(name: str) -> None:
    """Raise Invalid, naming the roles there are, when there is no such role."""
    if name not in (known := names()):
        raise Invalid.field("role", f"Must be one of: {', '.join(known)}", "unknown_role")


def keep_an_admin(user: User) -> None:
    """Raise LastAdmin when `user`, about to lose the role or the account, is the last active administrator.

    Locks the admin role's row first: of two people who do this at the same instant, one waits and is told.
    """
    if user.role != ADMIN or not user.is_active:
        return
    db.session.execute(select(Role.name).where(Role.name == ADMIN).with_for_update())
    others = db.session.scalar(
        select(func.count()).select_from(User).where(User.role == ADMIN, User.is_active, User.id != user.id)
    )
    if not others:
        raise LastAdmin
