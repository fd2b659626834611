"""Sign-up, sign-in and what belongs to it, for programs."""

from typing import Any

from flask import Blueprint

from blueprints.http.access import anyone, enrolling, leaving, signed_in
from blueprints.http.endpoint import endpoint
from blueprints.http.even import evenly
from services import auth_service, refresh_service, registration_service, session_service, sign_in_service
from services.errors import (
    EmailNotVerified,
    InvalidCredentials,
    InvalidToken,
    LinkExpired,
    ReauthenticationRequired,
    TokenReused,
    WeakPassword,
)
from services.principal import Principal
from services.schemas.auth import (
    ApiLoginIn,
    EmailIn,
    RefreshIn,
    RegisterIn,
    ResetPasswordIn,
    SignedInOut,
    TokenPairOut,
    VerifyByCodeIn,
    VerifyByLinkIn,
    VerifyIn,
)
from services.schemas.passkey import (
    ApiPasskeyAnswerIn,
    PasskeyAloneIn,
    PasskeyBeginIn,
    PasskeyOptionsOut,
    PasskeyStepIn,
)
from services.schemas.second_factor import (
    ReauthenticateByCodeIn,
    ReauthenticateByPasskeyIn,
    ReauthenticateByPasswordIn,
    ReauthenticateIn,
    SecondFactorRequiredOut,
    VerifyCodeIn,
    VerifyRecoveryCodeIn,
    VerifyStepIn,
)

bp = Blueprint("api_auth", __name__, url_prefix="/api/v1/auth")

MAIL_IS_ON_ITS_WAY = "If this is possible, a mail is on its way."


@bp.post("/register")
@evenly
@endpoint(allow=anyone, body=RegisterIn, status=202, message=MAIL_IS_ON_ITS_WAY, errors=(WeakPassword,))
def register(body: RegisterIn) -> None:
    """Make an account.

    The answer is the same whether or not the address is known. A mail with a link and a code confirms the address.
    """
    registration_service.register(body)


@bp.post("/login")
@endpoint(
    allow=anyone,
    body=ApiLoginIn,
    out=SignedInOut | SecondFactorRequiredOut,
    message="The password is right.",
    errors=(InvalidCredentials, EmailNotVerified),
)
def login(body: ApiLoginIn) -> SignedInOut | SecondFactorRequiredOut:
    """Sign in with address and password.

    Gives an access token for ten minutes and a refresh token. After ten failures each makes you wait longer.
    """
    return sign_in_service.api(body)


@bp.post("/login/verify")
@endpoint(
    allow=anyone,
    body=VerifyStepIn,
    out=SignedInOut,
    message="Signed in.",
    errors=(InvalidCredentials, InvalidToken),
)
def verify_login(body: VerifyCodeIn | VerifyRecoveryCodeIn) -> SignedInOut:
    """Finish a sign-in with a code of the authenticator app, or with a recovery code.

    The challenge is good for five minutes and five tries; a code works once.
    """
    return sign_in_service.api_second_step(body)


@bp.post("/reauthenticate")
@endpoint(
    allow=enrolling,
    body=ReauthenticateIn,
    message="Confirmed for ten minutes.",
    errors=(ReauthenticationRequired,),
)
def reauthenticate(
    body: ReauthenticateByPasswordIn | ReauthenticateByCodeIn | ReauthenticateByPasskeyIn, by: Principal
) -> None:
    """Show again who you are, with password, code or passkey: what is sensitive is open for ten minutes."""
    sign_in_service.reauthenticate(body, by=by)


@bp.post("/reauthenticate/options")
@endpoint(allow=enrolling, out=PasskeyOptionsOut, message="Ask the passkey with these options.")
def begin_reauthentication(by: Principal) -> Any:
    """Begin to show again who you are, by passkey; its answer goes to `/auth/reauthenticate`."""
    return sign_in_service.reauthentication_options(by=by)


@bp.post("/passkey/options")
@endpoint(
    allow=anyone,
    body=PasskeyBeginIn,
    out=PasskeyOptionsOut,
    message="Ask the passkey with these options.",
    errors=(InvalidToken,),
)
def begin_passkey(body: PasskeyAloneIn | PasskeyStepIn) -> Any:
    """Begin a sign-in by passkey.

    With nothing, or an address, the passkey is the only step. With the `challenge_token` that `/auth/login` gave it is
    the second one. Answer once, within five minutes, at `/auth/passkey` with the token given here.
    """
    return sign_in_service.api_passkey_options(body)


@bp.post("/passkey")
@endpoint(
    allow=anyone,
    body=ApiPasskeyAnswerIn,
    out=SignedInOut,
    message="Signed in.",
    errors=(InvalidCredentials, InvalidToken, EmailNotVerified),
)
def sign_in_by_passkey(body: ApiPasskeyAnswerIn) -> SignedInOut:
    """Sign in with a passkey's answer, as the only step or the second one."""
    return sign_in_service.api_by_passkey(body)


@bp.post("/refresh")
@endpoint(
    allow=anyone,
    body=RefreshIn,
    out=TokenPairOut,
    message="Here is the next pair.",
    errors=(InvalidToken, TokenReused),
)
def refresh(body: RefreshIn) -> TokenPairOut:
    """Exchange the refresh token for the next pair.

    Each refresh token works once. Where the answer was lost, ask again: within 30 seconds the latest exchange gives the
    same successor, and for ten minutes as long as nothing of its pair was presented. Any other used token ends the
    whole session, since somebody else must have a copy.
    """
    return refresh_service.refresh(body.refresh_token)


@bp.post("/logout")
@endpoint(allow=leaving, message="Signed out.")
def logout(by: Principal) -> None:
    """End this session; its tokens stop working at once."""
    session_service.log_out(by)


@bp.post("/logout-all")
@endpoint(allow=signed_in, message="Signed out everywhere.")
def logout_all(by: Principal) -> None:
    """End every session of the account, this one too."""
    session_service.end_others(by.user_id, keep=None, by=by)


@bp.post("/verify-email/request")
@evenly
@endpoint(allow=anyone, body=EmailIn, status=202, message=MAIL_IS_ON_ITS_WAY)
def request_verification(body: EmailIn) -> None:
    """Ask for another mail that confirms the address."""
    registration_service.request_verification(body.email)


@bp.post("/verify-email")
@evenly
@endpoint(
    allow=anyone,
    body=VerifyIn,
    message="The address is confirmed. You can sign in now.",
    errors=(LinkExpired, WeakPassword),
)
def verify_email(body: VerifyByLinkIn | VerifyByCodeIn) -> None:
    """Confirm the address with the token of the mailed link, or with address and code.

    What a program registered counts as it stands: name and password are those of the registration whose mail this
    is, so take no mail that you did not cause. What a browser registered needs a new `password`: the reader of the
    mail may not be the person who registered. So does a mail that was asked for again where several have registered
    the address. Whatever was set in the account before, such as sessions, passkeys and keys, is gone.
    """
    registration_service.verify_email(body, by=None)


@bp.post("/password/forgot")
@evenly
@endpoint(allow=anyone, body=EmailIn, status=202, message=MAIL_IS_ON_ITS_WAY)
def forgot_password(body: EmailIn) -> None:
    """Ask for a mail with a link that sets a new password.

    The answer is the same whether or not there is such an account.
    """
    auth_service.request_reset(body.email)


@bp.post("/password/reset")
@endpoint(
    allow=anyone,
    body=ResetPasswordIn,
    message="The new password is set. Every session was ended.",
    errors=(LinkExpired, WeakPassword),
)
def reset_password(body: ResetPasswordIn) -> None:
    """Set a new password with the token of the mailed link.

    Every session and token of the account dies; nobody is signed in.
    """
    auth_service.reset_password(body)
