"""What the command line does with accounts beyond the pages: find by id or address, hand over a link."""

from uuid import uuid4

from sqlalchemy import exists, select

from models import Role, User, db
from models.base import now
from services import audit_service, link_service, mail_service, user_service
from services.base_service import flush
from services.errors import NotFound
from services.principal import Principal
from services.role_service import ADMIN
from services.schemas.addresses import comparable
from services.schemas.base import ID_MAX
from services.schemas.user import UserCreateIn


def resolve(who: str) -> int:
    """The id of the account with this id or address. Raises NotFound."""
    is_id = who.isdecimal() and int(who) <= ID_MAX
    matches = User.id == int(who) if is_id else User.email == comparable(who)
    user_id = db.session.scalar(select(User.id).where(matches))
    if user_id is None:
        raise NotFound(f"There is no account {who}.")
    return user_id


def has_admin() -> bool:
    """Whether somebody can administer."""
    return bool(db.session.scalar(select(exists().where(User.role == ADMIN, User.is_active))))


def create(data: UserCreateIn) -> tuple[User, str | None]:
    """Make an account whose address counts as confirmed; without a password, with the link that sets one.

    Nothing is mailed: whoever has the command line hands the link over. Raises as `user_service.create`.
    """
    user = user_service.create(data, by=None)
    user.email_verified = True
    flush()
    if data.password is not None:
        return user, None
    audit_service.record("account:invite", actor_id=None, target_id=user.id)
    return user, mail_service.link("/auth/invitation", token=link_service.make_invitation(user))


def as_if_signed_in(user_id: int) -> tuple[Principal, bool]:
    """Who an account would be, had it signed in this moment, and whether it is active. Raises NotFound."""
    user = user_service.get(user_id, by=None)
    allowed = db.session.execute(
        select(User.has_second_factor, Role.permissions)
        .join(Role, Role.name == User.role)
        .where(User.id == user_id)
    ).one()
    principal = Principal(
        user_id=user.id,
        session_id=uuid4(),
        email=user.email,
        name=user.name,
        role=user.role,
        permissions=frozenset(allowed.permissions),
        kind="browser",
        authenticated_at=now(),
        has_second_factor=allowed.has_second_factor,
        frozen_at=user.frozen_at,
    )
    return principal, user.is_active
