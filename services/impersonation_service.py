"""Impersonation: an administrator sees the product as somebody else sees it, to help.

For half an hour, told to the person, every step recorded with both names, and without a way to what only the person may
do (`even_impersonated` in the HTTP room). The administrator's own session is kept aside: its cookie is worth nothing
meanwhile, and `stop` makes another one for it.
"""

from sqlalchemy import delete, select, update

from models import User, UserSession, db
from models.base import now
from models.enums import SessionKind
from services import (
    audit_service,
    impersonation,
    role_service,
    security_service,
    session_service,
    token_service,
    user_service,
)
from services.base_service import found, insert_new
from services.errors import Forbidden, ImpersonationRefused, ImpersonationRunning, NotFound
from services.identity_service import NEVER
from services.origin import set_impersonator
from services.permissions import USERS_IMPERSONATE, USERS_READ
from services.principal import Principal
from services.schemas.user import ImpersonateIn
from services.sign_in_service import SignedIn


def find(user_id: int, *, by: Principal) -> User:
    """The account, to ask about it first. Raises NotFound, also for whoever may not see accounts."""
    if not by.can(USERS_READ):
        raise NotFound
    return found(db.session.get(User, user_id))


def obstacle(user: User, *, by: Principal) -> str | None:
    """Why `by` can't sign in as this person, in a sentence; None when nothing is in the way."""
    if user.id == by.user_id:
        return "This is your own account."
    if not user.is_active:
        return "This account is suspended: nobody can be signed in to it."
    if user.frozen_at is not None:
        return "This account is frozen. Only the person can open it."
    if user.deletes_at is not None:
        return "This account is going to be deleted. Only the person can open it."
    if not role_service.may_manage(user, by=by):
        return "This account may do more than your own."
    return None


def start(user_id: int, data: ImpersonateIn, *, by: Principal) -> SignedIn:
    """Sign `by` in as somebody else, for half an hour at most; the person is told.

    Raises NotFound, ImpersonationRefused (as somebody else already), Forbidden (an obstacle, no permission, or no
    browser), or ImpersonationRunning when his session does so in another tab.
    """
    if by.impersonator_id is not None:
        raise ImpersonationRefused
    if not by.can(USERS_IMPERSONATE) or by.kind != SessionKind.BROWSER:
        raise Forbidden
    user = user_service.load(user_id)
    if why_not := obstacle(user, by=by):
        raise Forbidden(why_not)
    own = found(
        db.session.execute(
            select(UserSession.id, UserSession.expires_at)
            .where(UserSession.id == by.session_id)
            .with_for_update()
        ).first()
    )
    token, moment = token_service.new_token(), now()
    ends_at = min(moment + impersonation.LIFE, own.expires_at)
    insert_new(
        UserSession,
        ImpersonationRunning,
        user_id=user.id,
        kind=SessionKind.BROWSER,
        token_hash=token_service.digest(token),
        device_name=impersonation.DEVICE_NAME,
        created_at=moment,
        last_seen_at=moment,
        authenticated_at=NEVER,  # whoever reads the row alone, an older process say, finds nothing fresh either
        expires_at=ends_at,
        impersonator_id=by.user_id,
        impersonator_session_id=own.id,
    )
    session_service.new_cookie(by)  # nobody is given it: until `stop` no cookie opens his own session
    audit_service.record(
        "account:impersonation:start",
        actor_id=by.user_id,
        target_id=user.id,
        reason=data.reason,
        until=ends_at.isoformat(timespec="seconds"),
    )
    security_service.tell(user, "impersonated", reason=data.reason, until=ends_at)
    return found(_signed_in(token))


def stop(*, by: Principal) -> SignedIn | None:
    """End the impersonation and give the administrator back his own session, with a new token for its cookie.

    None when it was ended by somebody else at this very instant: then nothing is given back.
    """
    ended = db.session.execute(
        delete(UserSession)
        .where(UserSession.id == by.session_id, UserSession.impersonator_id == by.impersonator_id)
        .returning(UserSession.user_id, UserSession.impersonator_id, UserSession.impersonator_session_id)
    ).first()
    if ended is None:
        return None
    token = token_service.new_token()
    db.session.execute(
        update(UserSession)
        .where(UserSession.id == ended.impersonator_session_id, UserSession.user_id == ended.impersonator_id)
        .values(token_hash=token_service.digest(token))
    )
    impersonation.tell_ends([ended], impersonation.STOPPED)
    set_impersonator(None)
    return _signed_in(token)


def _signed_in(token: str) -> SignedIn | None:
    principal = session_service.find_browser(token)
    return SignedIn(token, principal) if principal else None
