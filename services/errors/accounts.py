"""What accounts, roles and their ways of signing in can refuse, by name."""

from typing import Literal

from services.errors.kinds import BadRequest, Conflict, Forbidden, Invalid, LinkExpired, NotAuthenticated


class PasskeyNotVerified(BadRequest):
    """400: what the device says of a new passkey does not hold, or answers no question of ours."""

    title = "The passkey could not be verified"
    default_message = "The passkey could not be verified, or it took too long. Start again."
    remedy = "Ask for new options, and answer them once, within five minutes, on the site itself."
    keep_changes = True


class StepLost(BadRequest):
    """400: a return from the issuer that this browser never set out for, or has come back from before."""

    title = "Start signing in again"
    default_message = (
        "This way of signing in was begun elsewhere, was finished before, or took too long. Start again."
    )
    remedy = "Start again on the page where you sign in."
    keep_changes = True


class InvalidCredentials(NotAuthenticated):
    """401: the same answer for a wrong password, an unknown, a suspended and a password-less account."""

    code = "INVALID_CREDENTIALS"
    title = "E-mail address or password is wrong"
    default_message = "The e-mail address or the password is wrong."
    remedy = "Check both, or reset the password."
    keep_changes = True


class InvalidToken(NotAuthenticated):
    """401: the token is malformed, forged, for something else, or its session is over."""

    code = "INVALID_TOKEN"
    title = "The token is not valid"
    default_message = "The token is not valid."
    remedy = "Sign in again."


class IssuerAnswerRefused(InvalidToken):
    """401: what the issuer sent is not for us, not for this sign-in, too old, or not signed as it must be."""

    title = "The answer could not be checked"
    default_message = "The answer of the other side could not be checked. You were not signed in."
    remedy = "Start again, or sign in another way."
    keep_changes = True


class TokenExpired(NotAuthenticated):
    """401: the token was good and is too old."""

    code = "TOKEN_EXPIRED"
    title = "The token has expired"
    default_message = "The token has expired."
    remedy = "Exchange the refresh token for a new pair, or sign in again."


class TokenReused(NotAuthenticated):
    """401: a refresh token was presented again whose successor had arrived; its whole session is ended."""

    code = "TOKEN_REUSED"
    title = "The refresh token was used before"
    default_message = "The refresh token was used before. The session was ended to be safe."
    remedy = "Sign in again. If you did not repeat the call, somebody else has a copy of the token."
    keep_changes = True


class SignInRefused(Forbidden):
    """403: known at the issuer and not let in here; the same for every reason, to tell nothing of an account."""

    title = "You can't sign in this way"
    default_message = (
        "Your address may not be confirmed on the other side, or there is no open account for it here."
    )
    remedy = "Confirm your address on the other side and start again, or sign in another way."
    keep_changes = True


class EmailNotVerified(Forbidden):
    """403: right password, but the address is not confirmed yet."""

    title = "Confirm your e-mail address first"
    default_message = "Confirm your e-mail address first. The link is in the mail we sent."


class ReauthenticationRequired(Forbidden):
    """403: this needs a sign-in of the last minutes."""

    code = "REAUTHENTICATION_REQUIRED"
    title = "Confirm that it is you"
    default_message = (
        "Confirm that it is you: the last sign-in is too long ago, or the current password is wrong."
    )
    remedy = "Send the current password, or sign in again."
    keep_changes = True


class AccountFrozen(Forbidden):
    """403: the owner said "this was not me"; nothing is changed until the password is reset by the mailed link."""

    code = "ACCOUNT_FROZEN"
    title = "The account is frozen"
    default_message = (
        "This account is frozen: its owner told us of something that they did not do. "
        "It opens again with a new password, set by the link in our mail."
    )
    remedy = "Ask for a link that sets a new password, and follow it."


class SecondFactorRequired(Forbidden):
    """403: this account has to set up a second step before it does anything else."""

    code = "SECOND_FACTOR_REQUIRED"
    title = "Set up a second step first"
    default_message = "This account needs a second step. Set one up first."
    remedy = "Add an authenticator app or a passkey: POST /api/v1/users/me/totp, or the page Security."


class OtherAccount(Forbidden):
    """403: the link is for another account than the one that is signed in."""

    title = "The link is for another account"
    default_message = "This link is for another account. Sign in to the one that asked for it."
    remedy = "Sign out, and sign in to the account that asked for the link."


class ImpersonationRefused(Forbidden):
    """403: only the person may do this, and nobody who is signed in as the person."""

    code = "IMPERSONATION_REFUSED"
    title = "Only the person may do this"
    default_message = "You are signed in as somebody else. Only the person may do this."
    remedy = (
        "Stop being signed in as somebody else, and do it in your own account, or ask the person to do it."
    )


class ImpersonationRunning(Conflict):
    """409: this session is signed in as somebody already."""

    title = "You are signed in as somebody already"
    default_message = "You are signed in as somebody else already. Stop that first."
    remedy = "Stop being signed in as somebody else first."


class EmailTaken(Conflict):
    """409: another account has this address."""

    code = "EMAIL_TAKEN"
    title = "The e-mail address is taken"
    default_message = "Another account uses this e-mail address."
    remedy = "Use another address."


class PasskeyTaken(Conflict):
    """409: the passkey belongs to an account already."""

    title = "The passkey is registered already"
    default_message = "This passkey is registered already."


class RoleExists(Conflict):
    """409: a role has this name."""

    title = "There is such a role"
    default_message = "There is a role of this name."
    remedy = "Choose another name, or change the role that there is."


class RoleInUse(Conflict):
    """409: accounts hold this role."""

    title = "The role is in use"
    default_message = "Somebody holds this role. Give its holders another one first."
    remedy = "List its holders with GET /users?filter[role]=…, and give each another role."


class RoleGone(Conflict):
    """409: the role was deleted while somebody was given it."""

    title = "The role was deleted"
    default_message = "This role was deleted a moment ago. Choose another one."
    remedy = "Read the roles again, and choose another one."


class IdentityTaken(Conflict):
    """409: another account is connected to this identity."""

    title = "It is connected to another account"
    default_message = "This is connected to another account here."
    remedy = "Disconnect it there first, or use another one."


class LastAdmin(Conflict):
    """409: nobody would be left to administer."""

    code = "LAST_ADMIN"
    title = "The last administrator stays"
    default_message = "This is the last active administrator. Make somebody else one first."
    remedy = "Give another active user the role admin first."


class WrongCode(LinkExpired):
    """410: the typed code is wrong, was used or replaced, or is too old; one answer for all of it."""

    title = "The code does not work"
    default_message = "This code is wrong, was used before, or is too old. Ask for a new one."

    def __init__(self) -> None:
        super().__init__(details={"field": "code"})


class InvalidCode(Invalid):
    """422: the code of the authenticator app is wrong, too old, or was used before."""

    default_message = "The code is wrong, too old, or was used before."

    def __init__(self) -> None:
        fault = {"field": "code", "error": self.default_message.rstrip("."), "code": "wrong_code"}
        super().__init__(details={"field": fault["field"], "error": fault["error"], "errors": [fault]})


class PasswordNeeded(Invalid):
    """422: the link or the code is good, and needs a password beside it; `asks` names the field."""

    default_message = "This was not registered here, or you are signed in: a password is needed."

    def __init__(self, asks: Literal["current_password", "password"]) -> None:
        self.asks = asks
        fault = {"field": asks, "error": "This is needed", "code": "missing"}
        super().__init__(details={"field": asks, "error": fault["error"], "errors": [fault]})


class WeakPassword(Invalid):
    """422: too short, known to attackers, or made of the account's own words."""

    code = "WEAK_PASSWORD"
    title = "The password is too weak"
    default_message = "The password is too weak."
    remedy = "Use a longer one, such as four unrelated words."
