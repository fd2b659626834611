"""Sessions in which an administrator is signed in as somebody else: what keeps them alive, and the word at their end.

Such a session hangs on the administrator's own one. Both are looked at in the statement that finds it, so it is over in
the instant in which his session, his account or his permission is, or the person may more than he.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, ScalarSelect, Text, literal, select
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import aliased

from models import Role, User, UserSession
from models.base import AnyRow
from services import audit_service
from services.permissions import USERS_IMPERSONATE

#: However much it is used.
LIFE = timedelta(minutes=30)
#: What the person sees among his devices: neither who, nor from where.
DEVICE_NAME = "An administrator, signed in as you"
#: How it came to its end: by its button, by signing its device out, or by itself.
STOPPED, SIGNED_OUT, OVER = "stopped", "signed_out", "over"

_own, _administrator = aliased(UserSession), aliased(User)
_his_role, _their_role, _person = aliased(Role), aliased(Role), aliased(User)


def holds(*, moment: Any, idle_since: Any) -> ColumnElement[bool]:
    """Whether a session is the person's own, or the administrator's own one behind it is alive and he may still."""
    may = (
        select(literal(1))
        .select_from(_own)
        .join(_administrator, _administrator.id == _own.user_id)
        .join(_his_role, _his_role.name == _administrator.role)
        .join(_person, _person.id == UserSession.user_id)
        .join(_their_role, _their_role.name == _person.role)
        .where(
            _own.id == UserSession.impersonator_session_id,
            _own.user_id == UserSession.impersonator_id,
            _own.expires_at > moment,
            _own.last_seen_at > idle_since,
            _administrator.is_active,
            _administrator.frozen_at.is_(None),
            _person.frozen_at.is_(None),
            _his_role.permissions.contains(array([USERS_IMPERSONATE], type_=Text)),
            _his_role.permissions.contains(_their_role.permissions),
        )
        .correlate(UserSession)
        .exists()
    )
    return UserSession.impersonator_id.is_(None) | may


def session_behind(session_id: UUID) -> ScalarSelect[UUID | None]:
    """The administrator's own session behind this one, as part of a larger question."""
    return select(_own.impersonator_session_id).where(_own.id == session_id).scalar_subquery()


def tell_ends(ended: Iterable[AnyRow], how: str) -> None:
    """Record the end of those among these sessions (`user_id`, `impersonator_id`) in which an administrator was."""
    for row in ended:
        if row.impersonator_id is not None:
            audit_service.record(
                "account:impersonation:end", actor_id=row.impersonator_id, target_id=row.user_id, how=how
            )
