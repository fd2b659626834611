"""Accounts for administrators, and one's own under /users/me."""

from typing import Any
from uuid import UUID

from flask import Blueprint

from blueprints.http.access import delegated, fresh, permission, signed_in
from blueprints.http.endpoint import endpoint
from services import audit_service, auth_service, factor_service, session_service, user_service
from services.errors import (
    Conflict,
    EmailTaken,
    Forbidden,
    LastAdmin,
    ReauthenticationRequired,
    WeakPassword,
)
from services.paging import Listing
from services.permissions import AUDIT_READ, USERS_READ, USERS_WRITE
from services.principal import Principal
from services.schemas.audit import AuditEventOut, AuditQuery, OwnEventOut, OwnEventQuery
from services.schemas.auth import ChangeEmailIn, ChangePasswordIn
from services.schemas.user import (
    ProfileIn,
    SessionOut,
    SuspendIn,
    UserCreateIn,
    UserOut,
    UserQuery,
    UserReplaceIn,
    UserUpdateIn,
)

bp = Blueprint("api_users", __name__, url_prefix="/api/v1/users")

Tags = frozenset[str] | None


@bp.get("")
@endpoint(allow=permission(USERS_READ), query=UserQuery, out=UserOut)
def list_users(query: UserQuery) -> Listing:
    """List accounts."""
    return user_service.page(query)


@bp.post("")
@endpoint(
    allow=permission(USERS_WRITE),
    body=UserCreateIn,
    out=UserOut,
    status=201,
    message="The account is made.",
    errors=(EmailTaken, ReauthenticationRequired, WeakPassword),
)
def create_user(body: UserCreateIn, by: Principal) -> Any:
    """Make an account; with a role that allows something, within ten minutes of signing in.

    With a password it is ready at once; without one an invitation is mailed.
    """
    return user_service.create(body, by=by)


@bp.get("/<id:user_id>")
@endpoint(allow=signed_in, out=UserOut)
def read_user(user_id: int, by: Principal) -> Any:
    """Read an account: your own, or any with `users:read`."""
    return user_service.get(user_id, by=by)


@bp.put("/<id:user_id>")
@endpoint(
    allow=permission(USERS_WRITE),
    body=UserReplaceIn,
    out=UserOut,
    message="The account is changed.",
    errors=(EmailTaken, LastAdmin, ReauthenticationRequired),
)
def replace_user(user_id: int, body: UserReplaceIn, by: Principal, expected: Tags) -> Any:
    """Set everything of an account that can be changed; another role or address within ten minutes of signing in."""
    return user_service.replace(user_id, body, by=by, expected=expected)


@bp.patch("/<id:user_id>")
@endpoint(
    allow=delegated(signed_in, USERS_WRITE),
    body=UserUpdateIn,
    out=UserOut,
    message="The account is changed.",
    errors=(Forbidden, EmailTaken, LastAdmin, ReauthenticationRequired),
)
def update_user(user_id: int, body: UserUpdateIn, by: Principal, expected: Tags) -> Any:
    """Change what is sent: your own `name`, or anything with `users:write`.

    Another role or address within ten minutes of signing in.
    """
    return user_service.update(user_id, body, by=by, expected=expected)


@bp.delete("/<id:user_id>")
@endpoint(allow=fresh(permission(USERS_WRITE)), message="The account is deleted.", errors=(LastAdmin,))
def delete_user(user_id: int, by: Principal, expected: Tags) -> None:
    """Delete an account for good."""
    user_service.delete(user_id, by=by, expected=expected)


@bp.post("/<id:user_id>/suspend")
@endpoint(
    allow=permission(USERS_WRITE),
    body=SuspendIn,
    out=UserOut,
    message="The account is suspended.",
    errors=(LastAdmin, Conflict),
)
def suspend_user(user_id: int, body: SuspendIn, by: Principal) -> Any:
    """Suspend an account, for good or until a date: its sessions end, it can't sign in, the person is told why."""
    return user_service.suspend(user_id, body.reason, until=body.until, by=by)


@bp.post("/<id:user_id>/reinstate")
@endpoint(
    allow=permission(USERS_WRITE), out=UserOut, message="The account is reinstated.", errors=(Conflict,)
)
def reinstate_user(user_id: int, by: Principal) -> Any:
    """Let a suspended account in again."""
    return user_service.reinstate(user_id, by=by)


@bp.delete("/<id:user_id>/factors")
@endpoint(
    allow=fresh(permission(USERS_WRITE)), message="The second step is reset.", errors=(Forbidden, Conflict)
)
def reset_factors(user_id: int, by: Principal) -> None:
    """Reset somebody's second step: authenticator app, passkeys and recovery codes; every session ends.

    For people who have lost them. They are told by mail, and sign in with the password alone.
    """
    factor_service.reset(user_id, by=by)


@bp.get("/<id:user_id>/sessions")
@endpoint(allow=permission(USERS_READ), out=list[SessionOut])
def list_user_sessions(user_id: int, by: Principal) -> Any:
    """List the signed-in devices of an account."""
    user_service.get(user_id, by=by)
    return session_service.list_of(user_id, current=by.session_id)


@bp.delete("/<id:user_id>/sessions")
@endpoint(allow=permission(USERS_WRITE), message="Every session is ended.")
def end_user_sessions(user_id: int, by: Principal) -> None:
    """End every session of an account."""
    user_service.end_sessions(user_id, by=by)


@bp.get("/<id:user_id>/events")
@endpoint(allow=permission(AUDIT_READ), query=AuditQuery, out=AuditEventOut)
def list_user_events(user_id: int, query: AuditQuery) -> Listing:
    """List what happened to an account."""
    return audit_service.page_about(user_id, query)


@bp.get("/me")
@endpoint(allow=signed_in, out=UserOut)
def read_me(by: Principal) -> Any:
    """Read your own account."""
    return user_service.get(by.user_id, by=by)


@bp.patch("/me")
@endpoint(allow=signed_in, body=ProfileIn, out=UserOut, message="Your profile is changed.")
def update_me(body: ProfileIn, by: Principal, expected: Tags) -> Any:
    """Change your own name."""
    return user_service.rename(body.name, by=by, expected=expected)


@bp.post("/me/password")
@endpoint(
    allow=signed_in,
    body=ChangePasswordIn,
    message="Your password is changed. Your other sessions were ended.",
    errors=(ReauthenticationRequired, WeakPassword),
)
def change_password(body: ChangePasswordIn, by: Principal) -> None:
    """Change your password; your other sessions end."""
    auth_service.change_password(body, by=by)


@bp.post("/me/email")
@endpoint(
    allow=signed_in,
    body=ChangeEmailIn,
    status=202,
    message="A mail to the new address is on its way. Until its link is used the present address stays.",
    errors=(ReauthenticationRequired,),
)
def change_email(body: ChangeEmailIn, by: Principal) -> None:
    """Ask for another address; a link mailed there makes it yours."""
    auth_service.request_email_change(body, by=by)


@bp.get("/me/sessions")
@endpoint(allow=signed_in, out=list[SessionOut])
def list_my_sessions(by: Principal) -> Any:
    """List your signed-in devices."""
    return session_service.list_of(by.user_id, current=by.session_id)


@bp.delete("/me/sessions")
@endpoint(allow=signed_in, message="Your other sessions are ended.")
def end_my_other_sessions(by: Principal) -> None:
    """End every session but this one."""
    session_service.end_others(by.user_id, keep=by.session_id, by=by)


@bp.delete("/me/sessions/<uuid:session_id>")
@endpoint(allow=signed_in, message="The session is ended.")
def end_my_session(session_id: UUID, by: Principal) -> None:
    """End one of your sessions."""
    session_service.end(session_id, user_id=by.user_id, by=by)


@bp.get("/me/events")
@endpoint(allow=signed_in, query=OwnEventQuery, out=OwnEventOut)
def list_my_events(query: OwnEventQuery, by: Principal) -> Listing:
    """List your security history.

    Of what somebody else did to your account, neither who it was nor from where.
    """
    return audit_service.own_page(by.user_id, query)
