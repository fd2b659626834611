"""Registering, and confirming the address by mailed link or typed code (ADR-015).

Registering changes no account that is there. Each registration has its own link, which carries its name and password;
the one that is used counts. No answer tells whether an address is known.
"""

from models import OneTimeToken, User
from models.enums import TokenPurpose
from services import (
    audit_service,
    first_proof_service,
    guess_service,
    known_device_service,
    link_service,
    mail_service,
    password_service,
    throttle_service,
    token_service,
    user_service,
)
from services.base_service import insert_if_free
from services.errors import NotAuthenticated, PasswordNeeded, ReauthenticationRequired, WrongCode
from services.link_service import Registration
from services.principal import Principal
from services.schemas.auth import (
    Asks,
    RegisterIn,
    VerifyByCodeIn,
    VerifyByLinkIn,
    VerifyHereByCodeIn,
    VerifyHereByLinkIn,
)

Proof = VerifyByLinkIn | VerifyByCodeIn


def register(data: RegisterIn) -> None:
    """Make an account, or tell the owner of a known address that somebody tried; the caller sees no difference.

    An address that waits for its confirmation gets another mail with a link of its own. At most ten mails an hour go to
    an address. Raises WeakPassword or RateLimited.
    """
    throttle_service.spend(throttle_service.REGISTER_BY_ADDRESS, throttle_service.address())
    password_service.check_strength(data.password, email=data.email, name=data.name)
    registration = Registration(data.name, password_service.hash_password(data.password))
    if not throttle_service.allows(throttle_service.REGISTER_MAIL, data.email):
        return
    # One statement for known and unknown addresses, which takes a number of the accounts' sequence for both: the
    # numbers of accounts made around it tell nothing (ADR-015).
    made = insert_if_free(
        User, email=data.email, name=registration.name, password_hash=registration.password_hash
    )
    user = made or user_service.find_by_email(data.email, lock=True)
    if user is None or not user.is_active:
        return
    if not _waits(user):
        mail_service.send("already_registered", to=user.email, name=user.name)
        return
    # Nobody knows yet who registers an address that is there: the account's owner, or anybody.
    audit_service.record(
        "account:register", actor_id=made.id if made else None, target_id=user.id, again=made is None or None
    )
    _mail(user, registration)


def request_verification(email: str) -> None:
    """Mail another link and code to an address that waits for confirmation; say nothing otherwise.

    They are for the same registration if it was made in this browser; else for none.
    """
    throttle_service.spend(throttle_service.VERIFY_BY_ADDRESS, throttle_service.address())
    allowed = throttle_service.allows(throttle_service.VERIFY_MAIL, email)
    user = user_service.find_by_email(email)
    if allowed and user is not None and _waits(user):
        _mail(user, link_service.registration_of(user.id, known_device_service.browser_digest()))


def asks(row: OneTimeToken, *, by: Principal | None) -> Asks | None:
    """What a link or code that confirms an address needs beside itself. None: the button is enough.

    The current password in a session of the account; elsewhere a new one, unless the registration was made in this
    browser. Programs of the API have no browser: theirs counts as it stands. So does the account for a mail that they
    asked for again, as long as nobody else has registered the address.
    """
    if by is not None and by.user_id == row.user_id:
        return "current_password"
    return None if _stands(row) else "password"


def verify_email(data: Proof, *, by: Principal | None) -> bool:
    """Confirm an address by link or by typed code. `by` is who is signed in in this browser, if anybody is.

    The registration of the link, or else the name and the new password given, become the account's; what was set in it
    before is gone. With the current password, in a session of the account, everything stays. Tells whether the session
    of `by` ended with it.

    Raises LinkExpired, WrongCode, PasswordNeeded, WeakPassword (the link and the code stay good), NotAuthenticated or
    ReauthenticationRequired (with `current_password`), or RateLimited.
    """
    throttle_service.spend(throttle_service.LINK_BY_ADDRESS, throttle_service.address())
    row = _held(data)
    user = user_service.load(row.user_id or 0)
    if isinstance(data, VerifyHereByLinkIn | VerifyHereByCodeIn) and data.current_password is not None:
        _check_own(row, data.current_password, by=by)
        first_proof_service.confirm_own(user)
        return False
    _take(user, row, data, by=by)
    first_proof_service.confirm(user)
    guess_service.start_over(user)
    return by is not None and by.user_id == user.id


def _held(data: Proof) -> OneTimeToken:
    """The row of the link or the code, locked, and its account before it."""
    if isinstance(data, VerifyByLinkIn):
        return link_service.hold(data.token, TokenPurpose.VERIFY_EMAIL)
    if not throttle_service.allows(throttle_service.TYPED_CODE, data.email):
        raise WrongCode
    user = user_service.find_by_email(data.email, lock=True)
    waits = user is not None and user.is_active and not user.email_verified
    # The same statements and one digest, whether somebody waits, has confirmed, or is not there at all.
    return link_service.hold_code(
        user.id if user and waits else 0, user.email if user else data.email, data.code
    )


def _take(user: User, row: OneTimeToken, data: Proof, *, by: Principal | None) -> None:
    """Give the account the name and the password that count from now on. Raises PasswordNeeded or WeakPassword."""
    if data.password is not None:
        # Never the name that came with a registration: it may be a stranger's.
        name = data.name or user.email.partition("@")[0]
        password_service.check_strength(data.password, email=user.email, name=name)
        user.name, user.password_hash = name, password_service.hash_password(data.password)
    elif needed := asks(row, by=by):
        raise PasswordNeeded(needed)
    elif row.name is not None:
        user.name, user.password_hash = row.name, row.password_hash


def _stands(row: OneTimeToken) -> bool:
    """Whether nobody but the one who asks can have chosen what the link makes the account's."""
    browser_hash = known_device_service.browser_digest()
    if browser_hash is not None:
        is_this = token_service.same(row.browser_hash or b"", browser_hash)
        return is_this and row.password_hash is not None
    if row.browser_hash is not None:
        return False
    return row.password_hash is not None or not link_service.is_contested(row.user_id or 0)


def _check_own(row: OneTimeToken, password: str, *, by: Principal | None) -> None:
    """Raise unless a session of the account shows its password; tries count like those of a sign-in."""
    if by is None or by.user_id != row.user_id:
        raise NotAuthenticated("Sign in to this account first, or leave its password out.")
    if not guess_service.own(password, by=by):
        audit_service.record("account:reauthenticate:failure", actor_id=by.user_id)
        raise ReauthenticationRequired(
            "The current password is wrong.", details={"field": "current_password"}
        )


def _waits(user: User) -> bool:
    """Whether an account waits for its address to be confirmed: not one that is invited, frozen or suspended."""
    is_open = user.is_active and user.frozen_at is None
    return is_open and not user.email_verified and user.password_hash is not None


def _mail(user: User, registration: Registration | None) -> None:
    token, code = link_service.make_verification(
        user, registration, browser_hash=known_device_service.browser_digest()
    )
    mail_service.send(
        "verify_email",
        to=user.email,
        name=registration.name if registration else user.name,
        token=token,
        code=code,
        lifetime=link_service.verify_life(),
        code_lifetime=link_service.CODE_LIFE,
    )
