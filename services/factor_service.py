"""The second step as a whole: which kinds an account has, who must have one, and what happens when that changes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from flask import current_app
from limits import RateLimitItemPerDay, RateLimitItemPerHour, RateLimitItemPerMinute
from sqlalchemy import update

from models import User, db
from models.base import AnyRow
from services import (
    audit_service,
    known_device_service,
    passkey_service,
    recovery_service,
    security_service,
    session_service,
    throttle_service,
    totp_service,
    user_service,
)
from services.errors import Conflict, Forbidden, InvalidCode, NotFound
from services.permissions import reaches_others
from services.principal import Principal
from services.schemas.passkey import PasskeyIn, PasskeyMadeOut, PasskeyOptionsOut, PasskeyOut
from services.totp_service import Enrolment

Method = Literal["totp", "recovery_code", "passkey"]
IN_WORDS = {"totp": "a code of an authenticator app", "passkey": "a passkey"}
#: Tries at a second step, whatever the door: a handful, few an hour, fifty a day (NIST SP 800-63B 5.2.2). Each browser
#: that the account knows has them, and all unknown devices together: who knows the password alone keeps no owner out.
TRIES = (
    RateLimitItemPerMinute(5, 5, namespace="second-factor"),
    RateLimitItemPerHour(20, namespace="second-factor"),
    RateLimitItemPerDay(50, namespace="second-factor"),
)
#: Of all devices together, or an account that knows a hundred could be guessed at a hundred times as often.
TRIES_IN_ALL = RateLimitItemPerDay(200, namespace="second-factor-account")
#: Wrong codes after the right password that may be the owner's own; of one more in a day they are told, once a day.
MISTYPED = RateLimitItemPerDay(4, namespace="second-factor-wrong")
TELL_OWNER = RateLimitItemPerDay(1, namespace="second-factor-mail")


@dataclass(frozen=True, slots=True)
class Overview:
    """How somebody signs in, for the page that shows it."""

    has_app: bool
    passkeys: list[AnyRow]
    codes_left: int
    is_required: bool
    """Whether REQUIRE_MFA asks this account for a second step."""

    @property
    def has_second_step(self) -> bool:
        """Whether signing in by password takes two steps."""
        return self.has_app or bool(self.passkeys)

    @property
    def has_few_codes(self) -> bool:
        """Whether it is time to make new recovery codes."""
        return self.has_second_step and self.codes_left <= recovery_service.FEW


def methods(user_id: int) -> list[Method]:
    """How this account can do its second step; nothing when it has none. Recovery codes alone are none."""
    found: list[Method] = ["totp"] if totp_service.is_on(user_id) else []
    if passkey_service.count(user_id):
        found.append("passkey")
    if found and recovery_service.remaining(user_id):
        found.append("recovery_code")
    return found


def overview(*, by: Principal) -> Overview:
    """One's own second steps."""
    return Overview(
        has_app=totp_service.is_on(by.user_id),
        passkeys=passkey_service.list_of(by.user_id),
        codes_left=recovery_service.remaining(by.user_id),
        is_required=is_required(by),
    )


def must_enrol(by: Principal) -> bool:
    """Whether REQUIRE_MFA asks this account for a second step that it has not set up."""
    return not by.has_second_factor and is_required(by)


def is_required(by: Principal) -> bool:
    """Whether REQUIRE_MFA asks this account for a second step."""
    required = current_app.config["REQUIRE_MFA"]
    return bool(required == "all" or (required == "admins" and reaches_others(by.permissions)))


def spend_try(user_id: int) -> None:
    """Count a try at the second step; raise RateLimited when there were too many, through whatever door."""
    who = _counted_as(user_id)
    for limit in TRIES:
        throttle_service.spend(limit, who)
    # Last: what a device has left to try alone counts for all.
    throttle_service.spend(TRIES_IN_ALL, str(user_id))


def forget_tries(user_id: int) -> None:
    """The step was done: the short count of this device starts again, the day's stays."""
    who = _counted_as(user_id)
    throttle_service.forget(TRIES[0], who)
    throttle_service.forget(MISTYPED, who)


def forgive_tries(user_id: int) -> None:
    """The password was reset by a mailed link: who knew the former one is out, so unknown devices start again.

    So does the browser in use. What all have tried in a day stays: reading the mail gives no more tries.
    """
    for who in (str(user_id), _counted_as(user_id)):
        for limit in (*TRIES, MISTYPED):
            throttle_service.forget(limit, who)


def note_wrong(user: User) -> None:
    """After the right password the code was wrong: once it can hardly be a slip, its owner is told, at most daily."""
    if (
        not user.is_active
        or user.frozen_at is not None
        or throttle_service.allows(MISTYPED, _counted_as(user.id))
    ):
        return
    if throttle_service.allows(TELL_OWNER, str(user.id)):
        audit_service.record("account:factor:guessed", actor_id=None, target_id=user.id)
        security_service.tell(user, "second_step_guessed", failures=str(MISTYPED.amount + 1))


def check_code(user: User, code: str) -> bool:
    """Whether a code of the app is right; it is used up then."""
    return totp_service.check(user.id, code)


def use_recovery_code(user: User, code: str) -> bool:
    """Use a recovery code up and tell its owner how many are left."""
    if not recovery_service.use(user.id, code):
        return False
    left = recovery_service.remaining(user.id)
    audit_service.record("account:recovery_code:use", actor_id=user.id, remaining=left)
    security_service.tell(user, "recovery_code_used", remaining=str(left))
    return True


def enrol_totp(*, by: Principal) -> Enrolment:
    """A new seed for one's own authenticator app; it counts once confirmed. Raises Conflict."""
    return totp_service.enrol(user_service.load_own(by))


def pending_totp(*, by: Principal) -> Enrolment | None:
    """The seed that waits for its first code, or None."""
    return totp_service.pending(by.user_id, by.email)


def confirm_totp(code: str, *, by: Principal) -> list[str]:
    """Switch codes on with the first right one; ten recovery codes, to be shown once. Other sessions end.

    Codes from before, of an account that had a passkey, no longer work. Raises Conflict, InvalidCode or RateLimited.
    """
    spend_try(by.user_id)
    user = user_service.load_own(by)
    totp_service.confirm(user, code)
    _changed(user, by, added="totp")
    return recovery_service.make(user.id)


def remove_totp(code: str, *, by: Principal) -> None:
    """Switch codes off, with a code. Raises NotFound, InvalidCode, RateLimited, or Forbidden where one is required."""
    spend_try(by.user_id)
    user = user_service.load_own(by)
    if not totp_service.is_on(user.id):
        raise NotFound
    if not check_code(user, code):
        raise InvalidCode
    totp_service.switch_off(user.id)
    _refuse_last_if_required(user, by)
    _changed(user, by, removed="totp")


def begin_passkey(*, by: Principal) -> PasskeyOptionsOut:
    """What a device is asked to make a passkey. Raises Conflict at ten."""
    return passkey_service.registration_options(user_service.load_own(by))


def add_passkey(data: PasskeyIn, *, by: Principal) -> PasskeyMadeOut:
    """Keep a new passkey. Other sessions end; ten recovery codes come with an account's first second step.

    Raises PasskeyNotVerified, PasskeyTaken or Conflict at ten.
    """
    user = user_service.load_own(by)
    passkey = passkey_service.register(user, data)
    _changed(user, by, added="passkey")
    codes = None if recovery_service.remaining(user.id) else recovery_service.make(user.id)
    made = PasskeyOut.model_validate(passkey)
    return PasskeyMadeOut(**made.model_dump(), recovery_codes=codes)


def rename_passkey(passkey_id: UUID, name: str, *, by: Principal) -> PasskeyOut:
    """Give one's own passkey another name. Raises NotFound."""
    passkey = passkey_service.rename(passkey_id, name, user_id=by.user_id)
    audit_service.record("account:passkey:rename", actor_id=by.user_id)
    return PasskeyOut.model_validate(passkey)


def remove_passkey(passkey_id: UUID, *, by: Principal) -> None:
    """Forget one's own passkey; other sessions end. Raises NotFound, or Forbidden where a second step is required."""
    user = user_service.load_own(by)
    passkey_service.remove(passkey_id, user_id=user.id)
    _refuse_last_if_required(user, by)
    _changed(user, by, removed="passkey")


def new_recovery_codes(*, by: Principal) -> list[str]:
    """Ten new recovery codes; the former ones die. Raises NotFound without a second step."""
    user = user_service.load_own(by)
    if not methods(user.id):
        raise NotFound
    audit_service.record("account:recovery_code:renew", actor_id=user.id)
    security_service.tell(user, "recovery_codes_renewed")
    return recovery_service.make(user.id)


def forget_all(user: User) -> None:
    """Drop every second step without a word: part of something that has its own event."""
    totp_service.switch_off(user.id)
    passkey_service.forget(user.id)
    recovery_service.forget(user.id)
    user.has_second_factor = False


def forget_since(user: User, moment: datetime) -> int:
    """Drop the second steps that were added from `moment` on; returns how many. As `forget_all`, without a word."""
    dropped = totp_service.forget_since(user.id, moment)
    dropped += passkey_service.forget_since(user.id, moment)
    dropped += recovery_service.forget_since(user.id, moment)
    user.has_second_factor = bool(methods(user.id))
    if not user.has_second_factor:
        recovery_service.forget(user.id)
    return dropped


def reset(user_id: int, *, by: Principal) -> None:
    """Take away somebody's app, passkeys and recovery codes, who has lost them; every session ends, he is told.

    Raises NotFound, Conflict when there is nothing to reset, or Forbidden for oneself (who has a code, removes his own)
    and for an account that may do more than `by`. Nobody sees a seed or a code.
    """
    if user_id == by.user_id:
        raise Forbidden("This is your own account. Another administrator can do this.")
    user = user_service.load_managed(user_id, by=by)
    had = methods(user.id)
    if not had:
        raise Conflict("This account has no second step.")
    forget_all(user)
    session_service.end_all(user.id)
    audit_service.record("account:factor:reset", actor_id=by.user_id, target_id=user.id, factors=sorted(had))
    security_service.tell(user, "factors_reset")


def _counted_as(user_id: int) -> str:
    browser = known_device_service.known_browser(user_id)
    return str(user_id) if browser is None else f"{user_id}/{browser.hex()}"


def _refuse_last_if_required(user: User, by: Principal) -> None:
    if not methods(user.id) and is_required(by):
        raise Forbidden("This account needs a second step. Add another one first.")


def _changed(user: User, by: Principal, *, added: str | None = None, removed: str | None = None) -> None:
    """Keep the account's mark right, end other sessions, tell its owner."""
    has_one = bool(methods(user.id))
    db.session.execute(
        update(User).where(User.id == user.id).values(has_second_factor=has_one, updated_at=User.updated_at)
    )
    if not has_one:
        recovery_service.forget(user.id)
    session_service.end_all(user.id, keep=by.session_id)
    if added:
        audit_service.record("account:factor:add", actor_id=by.user_id, target_id=user.id, factor=added)
        security_service.tell(user, "factor_added", factor=IN_WORDS[added])
    if removed:
        audit_service.record("account:factor:remove", actor_id=by.user_id, target_id=user.id, factor=removed)
        security_service.tell(user, "factor_removed", factor=IN_WORDS[removed])
