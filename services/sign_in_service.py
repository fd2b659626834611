"""Signing in: the password, then a second step where the account has one, then a session.

Every way in ends in `complete_browser` or `complete_api`, so no way skips a rule (ASVS 6.3.4).
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import select, update
from sqlalchemy.orm.attributes import set_committed_value

from models import User, db
from models.base import now
from models.enums import ChallengePurpose, SessionKind
from services import (
    audit_service,
    challenge_service,
    factor_service,
    guess_service,
    identity_service,
    known_device_service,
    passkey_service,
    password_service,
    session_service,
    suspension_service,
    throttle_service,
    user_service,
)
from services.errors import EmailNotVerified, InvalidCredentials, InvalidToken, ReauthenticationRequired
from services.issuer_tokens import Shown
from services.passkey_service import NotAccepted
from services.principal import Principal
from services.schemas.auth import ApiLoginIn, LoginIn, SignedInOut
from services.schemas.passkey import (
    ApiPasskeyAnswerIn,
    PasskeyAloneIn,
    PasskeyAnswerIn,
    PasskeyOptionsOut,
    PasskeyStepIn,
)
from services.schemas.second_factor import (
    CodeIn,
    ReauthenticateByCodeIn,
    ReauthenticateByPasskeyIn,
    ReauthenticateByPasswordIn,
    RecoveryCodeIn,
    SecondFactorRequiredOut,
    VerifyCodeIn,
    VerifyRecoveryCodeIn,
)
from services.schemas.user import UserOut

#: What a passkey's answer is for.
SIGN_IN, REAUTHENTICATE = "sign_in", "reauthenticate"
Reauthentication = ReauthenticateByPasswordIn | ReauthenticateByCodeIn | ReauthenticateByPasskeyIn


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


def browser_second_step(challenge_token: str, data: CodeIn | RecoveryCodeIn | PasskeyAnswerIn) -> SignedIn:
    """Finish a browser's sign-in. Raises InvalidToken, InvalidCredentials or RateLimited."""
    if isinstance(data, PasskeyAnswerIn):
        return browser_by_passkey(data)
    user, _ = _by_code(challenge_token, data, SessionKind.BROWSER)
    return complete_browser(user)


def api_second_step(data: VerifyCodeIn | VerifyRecoveryCodeIn) -> SignedInOut:
    """Finish a program's sign-in by code. Raises as `browser_second_step`."""
    user, asked = _by_code(data.challenge_token, data, SessionKind.API)
    return complete_api(user, asked["device_name"])


def browser_passkey_options() -> PasskeyOptionsOut:
    """Begin a browser's sign-in by passkey alone. Raises RateLimited."""
    return _alone(SessionKind.BROWSER, None)


def browser_passkey_step_options(challenge_token: str) -> PasskeyOptionsOut:
    """Begin the second step of a browser's sign-in by passkey. Raises InvalidToken or RateLimited."""
    return _as_step(SessionKind.BROWSER, challenge_token)


def api_passkey_options(data: PasskeyAloneIn | PasskeyStepIn) -> PasskeyOptionsOut:
    """Begin a program's sign-in by passkey, alone or after a password. Raises InvalidToken or RateLimited."""
    if isinstance(data, PasskeyStepIn):
        return _as_step(SessionKind.API, data.challenge_token)
    return _alone(SessionKind.API, data.email)


def browser_by_passkey(data: PasskeyAnswerIn) -> SignedIn:
    """A browser's sign-in by passkey, alone or after a password.

    Raises InvalidToken, InvalidCredentials or EmailNotVerified.
    """
    user, _ = _by_passkey(data, SessionKind.BROWSER)
    return complete_browser(user)


def api_by_passkey(data: ApiPasskeyAnswerIn) -> SignedInOut:
    """A program's sign-in by passkey, alone or after a password. Raises as `browser_by_passkey`."""
    user, asked = _by_passkey(data, SessionKind.API)
    return complete_api(user, asked.get("device_name") or data.device_name)


def by_issuer(shown: Shown) -> SignedIn | SecondFactorRequiredOut:
    """Somebody came back from the issuer. Our second step is asked unless the issuer proves one of its own.

    Where the issuer does not tell when it asked them, nobody knows that it was lately: the session begins not fresh.
    Raises SignInRefused, the same for every reason.
    """
    user = identity_service.user_of(shown)
    waiting = None if shown.has_second_factor else second_step(user, SessionKind.BROWSER)
    told = shown.authenticated_at
    then = identity_service.NEVER if told is None else datetime.fromtimestamp(told, UTC)
    return waiting or complete_browser(user, authenticated_at=then)


def complete_browser(user: User, *, authenticated_at: datetime | None = None) -> SignedIn:
    """Start the browser session of somebody who has shown everything asked of him, now or at `authenticated_at`."""
    since_before = user.last_login_at is not None
    _note_login(user)
    known_device_service.greet_browser(user, since_before=since_before)
    return SignedIn(*session_service.start_browser(user, authenticated_at=authenticated_at))


def complete_api(user: User, device_name: str | None) -> SignedInOut:
    """Start the API session of somebody who has shown everything asked of him."""
    since_before = user.last_login_at is not None
    _note_login(user)
    known_device_service.greet_program(user, device_name, since_before=since_before)
    pair = session_service.start_api(user, device_name)
    return SignedInOut(status="signed_in", user=UserOut.model_validate(user), **pair.model_dump())


def reauthentication_options(*, by: Principal) -> PasskeyOptionsOut:
    """Begin to show again who one is, by passkey. Raises RateLimited."""
    throttle_service.spend(throttle_service.PASSKEY_BY_ADDRESS, throttle_service.address())
    about = {"use": REAUTHENTICATE, "session": str(by.session_id)}
    return passkey_service.request_options(about=about, user_id=by.user_id)


def reauthenticate(data: Reauthentication, *, by: Principal) -> str | None:
    """Show again who one is: the session is fresh for ten minutes. A browser gets a new token for its cookie.

    Raises ReauthenticationRequired (wrong), InvalidToken (a passkey's challenge is over) or RateLimited; tries count
    together with those of the sign-in: of passwords with passwords, of codes with codes.
    """
    if isinstance(data, ReauthenticateByPasskeyIn):
        is_right, field = _is_passkey_of(by, data), "credential"
    elif isinstance(data, ReauthenticateByCodeIn):
        is_right, field = _is_code_of(by, data.code), "code"
    else:
        is_right, field = guess_service.own(data.password, by=by), "password"
    if not is_right:
        audit_service.record("account:reauthenticate:failure", actor_id=by.user_id)
        raise ReauthenticationRequired("That is not right.", details={"field": field})
    audit_service.record("account:reauthenticate:success", actor_id=by.user_id)
    return session_service.renew(by)


def _by_password(email: str, password: str) -> User:
    """The account that this address and password open.

    Raises InvalidCredentials, the same for every reason; EmailNotVerified only when the password is right; RateLimited
    where guess_service has somebody wait, whether or not the account exists.
    """
    guess = guess_service.by_address(email, password)
    user = guess.user
    if user is None or not guess.is_right:
        _note_failure(user)
        raise InvalidCredentials
    if not user.email_verified and current_app.config["EMAIL_VERIFICATION"] == "required":
        raise EmailNotVerified(details={"reason": "email_not_verified"})
    if password_service.needs_rehash(user.password_hash or ""):
        _rehash(user, password)
    return user


def _rehash(user: User, password: str) -> None:
    """Keep the right password under today's parameters, unless another one was set since it was looked at.

    Another sign-in at this very moment may have done so: then it is the same password under another hash.
    """
    remade = password_service.hash_password(password)
    is_still = (User.id == user.id) & (User.password_hash == user.password_hash)
    statement = update(User).where(is_still).values(password_hash=remade, updated_at=User.updated_at)
    if db.session.scalar(statement.returning(User.id)) is None:
        remade = db.session.scalar(select(User.password_hash).where(User.id == user.id)) or ""
        if not password_service.verify(password, remade):
            raise InvalidCredentials
    set_committed_value(user, "password_hash", remade)


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
    if not is_right or not user.is_active or user.frozen_at is not None:
        challenge.attempts += 1
        _note_failure(user, step="second_factor")
        factor_service.note_wrong(user)
        raise InvalidCredentials("The code is wrong, too old, or was used before.")
    factor_service.forget_tries(user.id)
    challenge_service.finish(challenge)
    return user, asked


def _alone(kind: SessionKind, email: str | None) -> PasskeyOptionsOut:
    """With an address only a passkey of its account will do; nothing in the answer tells whether there is one."""
    throttle_service.spend(throttle_service.PASSKEY_BY_ADDRESS, throttle_service.address())
    user = user_service.find_by_email(email) if email else None
    about = {"use": SIGN_IN, "kind": kind, "is_nobody": email is not None and user is None}
    return passkey_service.request_options(about=about, user_id=user.id if user else None)


def _as_step(kind: SessionKind, challenge_token: str) -> PasskeyOptionsOut:
    throttle_service.spend(throttle_service.PASSKEY_BY_ADDRESS, throttle_service.address())
    waiting = challenge_service.find(challenge_token, ChallengePurpose.SECOND_FACTOR)
    if waiting.data["kind"] != kind:
        raise InvalidToken
    about = {**waiting.data, "use": SIGN_IN, "sign_in": str(waiting.id)}
    return passkey_service.request_options(about=about, user_id=waiting.user_id, is_second_step=True)


def _by_passkey(data: PasskeyAnswerIn, kind: SessionKind) -> tuple[User, dict[str, Any]]:
    try:
        answer = passkey_service.answered(data)
    except NotAccepted as refused:
        _note_passkey(refused)
        raise InvalidCredentials("The passkey was not accepted.") from refused
    if answer.asked["use"] != SIGN_IN or answer.asked["kind"] != kind:
        raise InvalidToken
    if "sign_in" in answer.asked:
        challenge_service.finish(challenge_service.live(UUID(answer.asked["sign_in"])))
    user = user_service.load(answer.passkey.user_id)
    suspension_service.end_if_over(user)
    if not user.is_active or user.frozen_at is not None:
        _note_failure(user, step="passkey")
        raise InvalidCredentials("The passkey was not accepted.")
    if not user.email_verified and current_app.config["EMAIL_VERIFICATION"] == "required":
        raise EmailNotVerified(details={"reason": "email_not_verified"})
    return user, answer.asked


def _is_passkey_of(by: Principal, data: PasskeyAnswerIn) -> bool:
    try:
        answer = passkey_service.answered(data)
    except NotAccepted as refused:
        _note_passkey(refused)
        return False
    return bool(answer.asked["use"] == REAUTHENTICATE and answer.asked["session"] == str(by.session_id))


def _is_code_of(by: Principal, code: str) -> bool:
    factor_service.spend_try(by.user_id)
    is_right = factor_service.check_code(user_service.load(by.user_id), code)
    if is_right:
        factor_service.forget_tries(by.user_id)
    return is_right


def _note_passkey(refused: NotAccepted) -> None:
    """A counter that went back is worth its own event: two devices may hold the same key (WebAuthn §6.1.1)."""
    target_id = refused.passkey.user_id if refused.passkey else None
    if refused.reason == "counter_went_back":
        audit_service.record("account:passkey:copied", actor_id=None, target_id=target_id)
    audit_service.record(
        "account:login:failure",
        actor_id=None,
        target_id=target_id,
        known=target_id is not None,
        step="passkey",
        reason=refused.reason,
    )


def _note_failure(user: User | None, **details: str) -> None:
    target_id = user.id if user else None
    audit_service.record(
        "account:login:failure", actor_id=None, target_id=target_id, known=user is not None, **details
    )


def _note_login(user: User) -> None:
    # A sign-in is no change of the account: updated_at stays. No row matches an account that was suspended or frozen in
    # this very moment, or that no longer has the address, the password or the factors that were looked at.
    moment = now()
    noted = db.session.scalar(
        update(User)
        .where(
            User.id == user.id,
            User.is_active,
            User.frozen_at.is_(None),
            User.email == user.email,
            User.password_hash.is_not_distinct_from(user.password_hash),
            User.has_second_factor == user.has_second_factor,
        )
        .values(last_login_at=moment, updated_at=User.updated_at)
        .returning(User.last_login_at)
    )
    if noted is None:
        raise InvalidCredentials
    user.last_login_at = noted
    audit_service.record("account:login:success", actor_id=user.id)
