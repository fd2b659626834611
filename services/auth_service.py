"""The doors of an account: invitation, reset, change, the first administrator. No answer tells who has an account."""

from datetime import datetime

from sqlalchemy import exists, select

from models import OneTimeToken, User, db
from models.base import now
from models.enums import TokenPurpose
from services import (
    api_key_service,
    audit_service,
    challenge_service,
    deletion_service,
    factor_service,
    first_proof_service,
    guess_service,
    known_device_service,
    link_service,
    mail_service,
    password_service,
    registration_service,
    security_service,
    session_service,
    throttle_service,
    user_service,
)
from services.base_service import flush, insert_new
from services.errors import (
    Conflict,
    EmailTaken,
    LinkExpired,
    NotAuthenticated,
    OtherAccount,
    ReauthenticationRequired,
)
from services.principal import Principal
from services.role_service import ADMIN
from services.schemas.auth import (
    ChangeEmailIn,
    ChangePasswordIn,
    LinkOut,
    ResetPasswordIn,
    SetupIn,
)
from services.schemas.user import DeleteMeIn, DeleteUserIn


def request_reset(email: str) -> None:
    """Mail a link that sets a new password, if there is such an account; the caller sees no difference."""
    throttle_service.spend(throttle_service.RESET_BY_ADDRESS, throttle_service.address())
    # After five in a day one an hour still goes out, or a stranger could use up the owner's way back.
    is_usual = throttle_service.allows(throttle_service.RESET_MAIL, email)
    is_the_hours = throttle_service.allows(throttle_service.RESET_MAIL_AFTERWARDS, email)
    allowed = is_usual or is_the_hours
    user = user_service.find_by_email(email)
    # Without a password and confirmed: somebody who signs in elsewhere, and may want one. Not so the invited.
    has_entered = user is not None and (user.password_hash is not None or user.email_verified)
    if allowed and user is not None and user.is_active and has_entered:
        mail_reset(user, actor_id=None)


def mail_reset(user: User, *, actor_id: int | None) -> None:
    """Mail the link, to the address as it is stored; an administrator may start it for somebody."""
    token = link_service.make_reset(user)
    mail_service.send(
        "reset_password", to=user.email, name=user.name, token=token, lifetime=link_service.reset_life()
    )
    audit_service.record("account:password:reset_request", actor_id=actor_id, target_id=user.id)


def send_reset(user_id: int, *, by: Principal) -> None:
    """Mail somebody a link that sets a password: an invitation where there never was one. Nobody else sees either.

    Raises NotFound, Forbidden (an account above `by`), Conflict when the account is suspended, or RateLimited.
    """
    user = user_service.load_managed(user_id, by=by)
    if not user.is_active:
        raise Conflict("This account is suspended. Reinstate it first.")
    throttle_service.spend(throttle_service.INVITE_MAIL, user.email)
    if user.password_hash is None:
        user_service.invite(user, by=by)
    else:
        mail_reset(user, actor_id=by.user_id)


def delete_user(user_id: int, data: DeleteUserIn, *, by: Principal) -> None:
    """Delete an account for good, after whoever does it has shown his own password.

    Raises ReauthenticationRequired, RateLimited, or as `user_service.delete`.
    """
    _check_password(by, data.current_password, "account:delete_refused", target_id=user_id)
    user_service.delete(user_id, by=by, reason=data.reason)


def delete_own(data: DeleteMeIn, *, by: Principal) -> datetime:
    """Have one's own account deleted, after showing the password. Raises as `change_password`, or LastAdmin.

    Whoever has no password (he signs in by an issuer) has shown himself lately instead: the page sees to it.
    """
    if data.current_password is not None or by_password(by.user_id):
        _confirmed(by, data.current_password or "", "account:delete_refused")
    return deletion_service.request(by=by)


def by_password(user_id: int) -> bool:
    """Whether an account has a password at all."""
    return bool(db.session.scalar(select(User.password_hash.is_not(None)).where(User.id == user_id)))


def reset_password(data: ResetPasswordIn) -> None:
    """Set a new password by a mailed link: every session ends, nobody is signed in. It confirms the address too.

    Where nobody confirmed it before, nothing that was set in the account stays. An account that is frozen opens again.

    Raises LinkExpired, WeakPassword (the link stays good) or RateLimited.
    """
    user = _by_link(data.token, TokenPurpose.RESET_PASSWORD, data.password)
    audit_service.record("account:password:reset", actor_id=user.id)
    security_service.tell(user, "password_changed")


def accept_invitation(data: ResetPasswordIn) -> User:
    """Set the first password by an invitation's link. Raises as `reset_password`."""
    user = _by_link(data.token, TokenPurpose.INVITE, data.password)
    audit_service.record("account:invite:accept", actor_id=user.id)
    return user


def change_password(data: ChangePasswordIn, *, by: Principal) -> str | None:
    """Change one's own password; every other session ends. A browser gets a new token for its cookie.

    Raises ReauthenticationRequired (wrong current password), WeakPassword or RateLimited.
    """
    user = _confirmed(by, data.current_password, "account:password:change_refused")
    password_service.check_strength(data.new_password, email=user.email, name=user.name, field="new_password")
    user.password_hash = password_service.hash_password(data.new_password)
    link_service.forget_from_within(user)
    challenge_service.forget_sign_ins(user.id)
    session_service.end_all(user.id, keep=by.session_id)
    audit_service.record("account:password:change", actor_id=user.id)
    security_service.tell(user, "password_changed")
    return session_service.renew(by)


def request_email_change(data: ChangeEmailIn, *, by: Principal) -> None:
    """Mail a link to the new address and a notice to the present one, which stays until the link is used.

    A taken address gets a notice instead of a link; the caller sees no difference.
    Raises ReauthenticationRequired (wrong password) or RateLimited.
    """
    throttle_service.spend(throttle_service.CHANGE_EMAIL, str(by.user_id))
    user = _confirmed(by, data.current_password, "account:password:change_refused")
    audit_service.record("account:email:change_request", actor_id=user.id, after={"email": data.email})
    security_service.tell(user, "email_changed_notice", new_email=data.email)
    # Made for a taken address too, and never mailed: "waits for its confirmation" is all that anybody sees of either.
    token = link_service.make_email_change(user, data.email)
    if not throttle_service.allows(throttle_service.CHANGE_EMAIL_MAIL, data.email):
        return  # whatever account asks: the address may be a stranger's
    holder = user_service.find_by_email(data.email)
    if holder is not None and holder.id != user.id:
        mail_service.send("already_registered", to=holder.email, name=holder.name)
        return
    mail_service.send(
        "email_change_confirm",
        to=data.email,
        name=user.name,
        token=token,
        lifetime=link_service.verify_life(),
    )


def confirm_email_change(token: str, *, by: Principal | None) -> User:
    """Make the new address the account's, in a session of that account; the session is not touched.

    A stranger can have their own account ask for somebody's address. So whoever presses the link has to be signed in
    to the account that asked.
    Raises LinkExpired, NotAuthenticated, OtherAccount, EmailTaken, AccountFrozen or RateLimited.
    """
    throttle_service.spend(throttle_service.LINK_BY_ADDRESS, throttle_service.address())
    row = link_service.hold(token, TokenPurpose.CHANGE_EMAIL)
    if by is None:
        raise NotAuthenticated("Sign in to the account that asked for the new address.")
    _check_own(row, by)
    user, email = user_service.load_own(by), row.email or ""
    user_service.refuse_taken(email, but=user.id)
    was_proven, former = user.email_verified, user.email
    user.email, user.email_verified = email, True
    flush()  # EmailTaken, when somebody took the address at this instant
    link_service.forget_all(user.id)
    audit_service.record(
        "account:email:change", actor_id=user.id, before={"email": former}, after={"email": user.email}
    )
    if was_proven:
        user_service.tell_address_changed(user, former)
    else:
        # Nobody has shown that the former one was theirs: no mail to it calls the account back there, and with it
        # what a first comer set up. Its owner registers it, as it is free.
        link_service.forget_not_me(user.id)
        security_service.tell(user, "email_changed", old_email=former, new_email=user.email)
    return user


def look_at_link(token: str, purpose: TokenPurpose, *, by: Principal | None) -> LinkOut:
    """What a mailed link is about, for the page that asks before it acts. Uses nothing up.

    Raises LinkExpired, or OtherAccount for a change of address that another account than `by` asked for.
    """
    row = link_service.look(token, purpose)
    if purpose == TokenPurpose.SETUP_ADMIN and _has_admin():
        raise LinkExpired
    if purpose == TokenPurpose.CHANGE_EMAIL and by is not None:
        _check_own(row, by)
    asks = registration_service.asks(row, by=by) if purpose == TokenPurpose.VERIFY_EMAIL else None
    name = db.session.scalar(select(User.name).where(User.id == row.user_id))
    return LinkOut(token=token, email=row.email or "", name=name or "", asks=asks)


def setup_link() -> str | None:
    """A link token that makes the first administrator; None when there is one already."""
    return None if _has_admin() else link_service.make_setup()


def set_up(data: SetupIn) -> tuple[str, Principal]:
    """Make the first administrator and sign him in. Raises LinkExpired (also once there is one) or WeakPassword."""
    link_service.use(data.token, TokenPurpose.SETUP_ADMIN)
    if _has_admin():
        raise LinkExpired
    password_service.check_strength(data.password, email=data.email, name=data.name)
    user = insert_new(
        User,
        EmailTaken,
        email=data.email,
        name=data.name,
        role=ADMIN,
        email_verified=True,
        password_hash=password_service.hash_password(data.password),
        last_login_at=now(),
    )
    audit_service.record("account:setup", actor_id=user.id)
    known_device_service.greet_browser(user, since_before=False)
    return session_service.start_browser(user)


def _by_link(token: str, purpose: TokenPurpose, password: str) -> User:
    throttle_service.spend(throttle_service.LINK_BY_ADDRESS, throttle_service.address())
    row = link_service.use(token, purpose)
    user = user_service.load(row.user_id or 0)
    password_service.check_strength(password, email=user.email, name=user.name)
    user.password_hash = password_service.hash_password(password)
    first_proof_service.confirm(user)
    link_service.forget_all(user.id)
    challenge_service.forget_sign_ins(user.id)
    session_service.end_all(user.id)
    api_key_service.revoke_all(user.id)
    if user.frozen_at is not None:
        user.frozen_at = None
        audit_service.record("account:unfreeze", actor_id=user.id)
    guess_service.start_over(user)
    factor_service.forgive_tries(user.id)
    return user


def _check_own(row: OneTimeToken, by: Principal) -> None:
    if row.user_id != by.user_id:
        raise OtherAccount


def _confirmed(by: Principal, password: str, refusal: str) -> User:
    """The acting user, locked, after he has shown his password. Counts tries like a sign-in does."""
    user = user_service.load_own(by)
    if not guess_service.own(password, by=by):
        audit_service.record(refusal, actor_id=user.id)
        raise ReauthenticationRequired(
            "The current password is wrong.", details={"field": "current_password"}
        )
    return user


def _check_password(by: Principal, password: str, refusal: str, *, target_id: int) -> None:
    """As `_confirmed`, for what is done to others: without a lock, or two who do it to each other would deadlock."""
    if not guess_service.own(password, by=by):
        audit_service.record(refusal, actor_id=by.user_id, target_id=target_id)
        raise ReauthenticationRequired("This is not your password.", details={"field": "current_password"})


def _has_admin() -> bool:
    return bool(db.session.scalar(select(exists().where(User.role == ADMIN, User.is_active))))
