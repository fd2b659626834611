"""Signing in: the password, then a second step where the account has one, then a session.

Every way in ends in `complete_browser` or `complete_api`, so no way skips a rule (ASVS 6.3.4).
"""

from dataclasses import dataclass
from typing import Any

from flask import current_app
from sqlalchemy import update

from models import User, db
from models.base import now
from models.enums import ChallengePurpose, SessionKind
from services import (
    audit_service,
    challenge_service,
    factor_service,
    password_service,
    session_service,
    throttle_service,
    user_service,
)
from services.errors import EmailNotVerified, InvalidCredentials, InvalidToken, ReauthenticationRequired
from services.principal import Principal
from services.schemas.auth import ApiLoginIn, LoginIn, SignedInOut
from services.schemas.second_factor import (
    CodeIn,
    ReauthenticateByCodeIn,
    ReauthenticateByPasswordIn,
    RecoveryCodeIn,
    SecondFactorRequiredOut,
    VerifyCodeIn,
    VerifyRecoveryCodeIn,
)
from services.schemas.user import UserOut


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A browser's new session: the token for its cookie, and who it is."""

    token: str
    principal: Principal


def browser(data: LoginIn) -> SignedIn | SecondFactorRequiredOut:
    """Address and password for a browser. Raises InvalidCredentials, EmailNotVerified or RateLimited."""
    user = _by_password(data.email, data.password)
    return second_step(user, SessionKind.BROWSER) or complete_browser(user)


def api(data: ApiLoginIn) -> SignedInOut | SecondFactorRequiredOut:
    """Address and password for a program. Raises as `browser`."""
    user = _by_password(data.email, data.password)
    waiting = second_step(user, SessionKind.API, device_name=data.device_name)
    return waiting or complete_api(user, data.device_name)


def second_step(
    user: User, kind: SessionKind, *, device_name: str | None = None
) -> SecondFactorRequiredOut | None:
    """The challenge of an account that has a second step; None for one that has not."""
    methods = factor_service.methods(user.id)
    if not methods:
        return None
    token = challenge_service.start(
        ChallengePurpose.SECOND_FACTOR, user_id=user.id, data={"kind": kind, "device_name": device_name}
    )
    return SecondFactorRequiredOut(
        status="second_factor_required",
        challenge_token=token,
        expires_in=int(challenge_service.LIFE.total_seconds()),
        methods=methods,
    )


def browser_second_step(challenge_token: str, data: CodeIn | RecoveryCodeIn) -> SignedIn:
    """Finish a browser's sign-in by code. Raises InvalidToken, InvalidCredentials or RateLimited."""
    user, _ = _by_code(challenge_token, data, SessionKind.BROWSER)
    return complete_browser(user)


def api_second_step(data: VerifyCodeIn | VerifyRecoveryCodeIn) -> SignedInOut:
    """Finish a program's sign-in by code. Raises as `browser_second_step`."""
    user, asked = _by_code(data.challenge_token, data, SessionKind.API)
    return complete_api(user, asked["device_name"])


def complete_browser(user: User) -> SignedIn:
    """Start the browser session of somebody who has shown everything asked of him."""
    _note_login(user)
    return SignedIn(*session_service.start_browser(user))


def complete_api(user: User, device_name: str | None) -> SignedInOut:
    """Start the API session of somebody who has shown everything asked of him."""
    _note_login(user)
    pair = session_service.start_api(user, device_name)
    return SignedInOut(status="signed_in", user=UserOut.model_validate(user), **pair.model_dump())


def reauthenticate(data: ReauthenticateByPasswordIn | ReauthenticateByCodeIn, *, by: Principal) -> str | None:
    """Show again who one is: the session is fresh for ten minutes. A browser gets a new token for its cookie.

    Raises ReauthenticationRequired (wrong) or RateLimited; tries count together with those of the sign-in.
    """
    throttle_service.spend(throttle_service.LOGIN_BY_ACCOUNT, by.email)
    user = user_service.load(by.user_id)
    if isinstance(data, ReauthenticateByCodeIn):
        is_right = factor_service.check_code(user, data.code)
    else:
        is_right = password_service.verify(data.password, user.password_hash)
    if not is_right:
        audit_service.record("account:reauthenticate:failure", actor_id=by.user_id)
        raise ReauthenticationRequired(
            "That is not right.", details={"field": next(iter(data.model_fields_set))}
        )
    throttle_service.forget(throttle_service.LOGIN_BY_ACCOUNT, by.email)
    audit_service.record("account:reauthenticate:success", actor_id=by.user_id)
    return session_service.renew(by)


def _by_password(email: str, password: str) -> User:
    """The account that this address and password open.

    Raises InvalidCredentials, the same for every reason; EmailNotVerified only when the password is right; RateLimited
    after ten tries in five minutes on an account or from an address, whether or not the account exists.
    """
    throttle_service.spend(throttle_service.LOGIN_BY_ACCOUNT, email)
    throttle_service.spend(throttle_service.LOGIN_BY_ADDRESS, throttle_service.address())
    user = user_service.find_by_email(email)
    matches = password_service.verify(password, user.password_hash if user else None)
    if user is None or not matches or not user.is_active:
        _note_failure(user)
        raise InvalidCredentials
    throttle_service.refund(throttle_service.LOGIN_BY_ADDRESS, throttle_service.address())
    throttle_service.forget(throttle_service.LOGIN_BY_ACCOUNT, email)
    if not user.email_verified and current_app.config["EMAIL_VERIFICATION"] == "required":
        raise EmailNotVerified(details={"reason": "email_not_verified"})
    if password_service.needs_rehash(user.password_hash or ""):
        user.password_hash = password_service.hash_password(password)
    return user


def _by_code(
    challenge_token: str, data: CodeIn | RecoveryCodeIn, kind: SessionKind
) -> tuple[User, dict[str, Any]]:
    challenge = challenge_service.find(challenge_token, ChallengePurpose.SECOND_FACTOR)
    asked: dict[str, Any] = challenge.data
    if asked["kind"] != kind:
        raise InvalidToken
    user = user_service.load(challenge.user_id or 0)
    factor_service.spend_try(user.id)
    if isinstance(data, RecoveryCodeIn):
        is_right = factor_service.use_recovery_code(user, data.recovery_code)
    else:
        is_right = factor_service.check_code(user, data.code)
    if not is_right or not user.is_active:
        challenge.attempts += 1
        _note_failure(user, step="second_factor")
        raise InvalidCredentials("The code is wrong, too old, or was used before.")
    factor_service.forget_tries(user.id)
    challenge_service.finish(challenge)
    return user, asked


def _note_failure(user: User | None, **details: str) -> None:
    target_id = user.id if user else None
    audit_service.record(
        "account:login:failure", actor_id=None, target_id=target_id, known=user is not None, **details
    )


def _note_login(user: User) -> None:
    # A sign-in is no change of the account: updated_at stays. Suspended in this very moment: the row does not match.
    moment = now()
    noted = db.session.scalar(
        update(User)
        .where(User.id == user.id, User.is_active)
        .values(last_login_at=moment, updated_at=User.updated_at)
        .returning(User.last_login_at)
    )
    if noted is None:
        raise InvalidCredentials
    user.last_login_at = noted
    audit_service.record("account:login:success", actor_id=user.id)
