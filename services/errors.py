"""The registry of everything a caller can be told is wrong: code, message, meaning and remedy.

A kind (`Conflict`) is what the HTTP room maps to a status; a named error (`EmailTaken`) is the fact. Each code here
appears in the API document and as a page under /problems/.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar


class DomainError(Exception):
    """Something the caller can be told. `message` may be made more precise; `details` are machine-readable."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    title: ClassVar[str] = "Something went wrong"
    default_message: ClassVar[str] = "Something went wrong on our side."
    remedy: ClassVar[str] = "Try again in a moment. If it stays, tell the operator the request id."
    #: Commit what was written before the refusal (a counted failure, a revoked family), then raise.
    keep_changes: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        self.message = message or self.default_message
        self.details = dict(details or {})
        self.retry_after_seconds = retry_after_seconds
        super().__init__(self.message)


class InternalError(DomainError):
    """500: a fault of ours; the log has the request id."""


class BadRequest(DomainError):
    """400: the request can't be understood."""

    code = "BAD_REQUEST"
    title = "The request can't be understood"
    default_message = "The request can't be understood."
    remedy = "Check the address, the headers and the encoding of what was sent."


class MalformedJson(BadRequest):
    """400: the body is not one JSON value in UTF-8."""

    code = "MALFORMED_JSON"
    title = "The body is not valid JSON"
    default_message = "The body must be one JSON object in UTF-8."
    remedy = "Send one JSON object, without comments, duplicate names, NaN or Infinity."


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


class NotAuthenticated(DomainError):
    """401: who is calling?"""

    code = "AUTHENTICATION_REQUIRED"
    title = "Sign-in needed"
    default_message = "Sign in first."
    remedy = "Send an access token: Authorization: Bearer <access_token>."


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
    """401: a refresh token was presented again long after its exchange; its whole session is ended."""

    code = "TOKEN_REUSED"
    title = "The refresh token was used before"
    default_message = "The refresh token was used before. The session was ended to be safe."
    remedy = "Sign in again. If you did not repeat the call, somebody else has a copy of the token."
    keep_changes = True


class Forbidden(DomainError):
    """403: known, and not allowed."""

    code = "FORBIDDEN"
    title = "Not allowed"
    default_message = "You are not allowed to do this."
    remedy = "Ask an administrator for a role that may."


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


class SecondFactorRequired(Forbidden):
    """403: this account has to set up a second step before it does anything else."""

    code = "SECOND_FACTOR_REQUIRED"
    title = "Set up a second step first"
    default_message = "This account needs a second step. Set one up first."
    remedy = "Add an authenticator app or a passkey: POST /api/v1/users/me/totp, or the page Security."


class CsrfFailed(Forbidden):
    """403: the form did not come from our own page, or is too old."""

    code = "CSRF_FAILED"
    title = "The form could not be checked"
    default_message = "The form is too old, or did not come from this site."
    remedy = "Reload the page and send the form again. Cookies must be allowed."


class NotFound(DomainError):
    """404: not there, or not yours."""

    code = "NOT_FOUND"
    title = "Not found"
    default_message = "There is nothing here, or nothing you may see."
    remedy = "Check the address."


class MethodNotAllowed(DomainError):
    """405: the address exists, the method does not."""

    code = "METHOD_NOT_ALLOWED"
    title = "Method not allowed"
    default_message = "This address does not take that method."
    remedy = "The Allow header lists the methods."


class Conflict(DomainError):
    """409: it contradicts what is."""

    code = "CONFLICT"
    title = "It contradicts the present state"
    default_message = "This contradicts the present state."
    remedy = "Read the resource again and decide anew."


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


class LinkExpired(DomainError):
    """410: the link or code was used, replaced or is too old."""

    code = "LINK_EXPIRED"
    title = "The link no longer works"
    default_message = "This link or code was used before, replaced by a newer one, or is too old."
    remedy = "Ask for a new one."
    keep_changes = True


class WrongCode(LinkExpired):
    """410: the typed code is wrong, was used or replaced, or is too old; one answer for all of it."""

    title = "The code does not work"
    default_message = "This code is wrong, was used before, or is too old. Ask for a new one."

    def __init__(self) -> None:
        super().__init__(details={"field": "code"})


class PreconditionFailed(DomainError):
    """412: somebody changed it in between."""

    code = "PRECONDITION_FAILED"
    title = "It was changed in between"
    default_message = "It was changed since you read it."
    remedy = "Read it again, and send the new ETag in If-Match."


class PayloadTooLarge(DomainError):
    """413: more than we take."""

    code = "PAYLOAD_TOO_LARGE"
    title = "Too large"
    default_message = "The request is too large."
    remedy = "Send at most 1 MiB."


class UnsupportedMediaType(DomainError):
    """415: not JSON."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    title = "Send JSON"
    default_message = "The body must be application/json."
    remedy = "Set Content-Type: application/json, without a Content-Encoding."


class Invalid(DomainError):
    """422: understood, and some fields are wrong. `details` list every field."""

    code = "VALIDATION_ERROR"
    title = "Some fields are not valid"
    default_message = "Some fields are not valid."
    remedy = "details.errors names each field and what is wrong with it."

    @classmethod
    def field(cls, name: str, error: str, code: str = "invalid") -> "Invalid":
        """One fault of one field."""
        return cls.fields([{"field": name, "error": error, "code": code}])

    @classmethod
    def fields(cls, faults: list[dict[str, str]]) -> "Invalid":
        """Every fault, each `{field, error, code}`; the first is repeated on top, as the contract has it."""
        first = faults[0]
        return cls(details={"field": first["field"], "error": first["error"], "errors": faults})


class InvalidCode(Invalid):
    """422: the code of the authenticator app is wrong, too old, or was used before."""

    default_message = "The code is wrong, too old, or was used before."

    def __init__(self) -> None:
        fault = {"field": "code", "error": self.default_message.rstrip("."), "code": "wrong_code"}
        super().__init__(details={"field": fault["field"], "error": fault["error"], "errors": [fault]})


class WeakPassword(Invalid):
    """422: too short, known to attackers, or made of the account's own words."""

    code = "WEAK_PASSWORD"
    title = "The password is too weak"
    default_message = "The password is too weak."
    remedy = "Use a longer one, such as four unrelated words."


class IdempotencyMismatch(DomainError):
    """422: the key was used for another request."""

    code = "IDEMPOTENCY_MISMATCH"
    title = "The Idempotency-Key was used for another request"
    default_message = "This Idempotency-Key was used for a different request."
    remedy = "Use a new key for each new request."


class RateLimited(DomainError):
    """429: too often."""

    code = "RATE_LIMITED"
    title = "Too many requests"
    default_message = "Too many attempts. Wait a little."
    remedy = "Wait as many seconds as Retry-After says."
    keep_changes = True


class Unavailable(DomainError):
    """503: something this needs is away."""

    code = "UNAVAILABLE"
    title = "Not available right now"
    default_message = "This is not available right now. Nothing was changed."
    remedy = "Try again after as many seconds as Retry-After says."


def every_error(kind: type[DomainError] = DomainError) -> Iterator[type[DomainError]]:
    """Every error class below `kind`, depth first."""
    for error in kind.__subclasses__():
        yield error
        yield from every_error(error)


def registry() -> dict[str, type[DomainError]]:
    """Each code with the class that defines it, sorted by code."""
    defined: dict[str, type[DomainError]] = {InternalError.code: InternalError}
    defined |= {error.code: error for error in every_error() if "code" in vars(error)}
    return dict(sorted(defined.items()))
