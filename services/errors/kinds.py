"""What the HTTP room maps to a status: one kind for each, and what a request itself can get wrong."""

from collections.abc import Mapping
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


class ForeignHost(BadRequest):
    """400: the Host header names no site that is served here."""

    default_message = "The Host header names no site that is served here."


class MalformedJson(BadRequest):
    """400: the body is not one JSON value in UTF-8."""

    code = "MALFORMED_JSON"
    title = "The body is not valid JSON"
    default_message = "The body must be one JSON object in UTF-8."
    remedy = "Send one JSON object, without comments, duplicate names, NaN or Infinity."


class NotAuthenticated(DomainError):
    """401: who is calling?"""

    code = "AUTHENTICATION_REQUIRED"
    title = "Sign-in needed"
    default_message = "Sign in first."
    remedy = "Send an access token: Authorization: Bearer <access_token>."


class Forbidden(DomainError):
    """403: known, and not allowed."""

    code = "FORBIDDEN"
    title = "Not allowed"
    default_message = "You are not allowed to do this."
    remedy = "Ask an administrator for a role that may."


class CsrfFailed(Forbidden):
    """403: the form did not come from our own page, or is too old."""

    code = "CSRF_FAILED"
    title = "The form could not be checked"
    default_message = "The form is too old, or did not come from this site."
    remedy = "Reload the page and send the form again. Cookies must be allowed."


class HttpsRequired(Forbidden):
    """403: it came over plain http, and was not looked at."""

    code = "HTTPS_REQUIRED"
    title = "Https needed"
    default_message = "This site is used over https alone. Nothing was done."
    remedy = (
        "Call the https address. A password or token that was sent over http may have been read: replace it."
    )


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
    remedy = "Read the resource again and decide again."


class LinkExpired(DomainError):
    """410: the link or code was used, replaced or is too old."""

    code = "LINK_EXPIRED"
    title = "The link no longer works"
    default_message = "This link or code was used before, replaced by a newer one, or is too old."
    remedy = "Ask for a new one."
    keep_changes = True


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
