"""The registry of everything a caller can be told is wrong: code, message, meaning and remedy.

A kind (`Conflict`) is what the HTTP room maps to a status; a named error (`EmailTaken`) is the fact. Each code here
appears in the API document and as a page under /problems/.
"""

from collections.abc import Iterator

from services.errors.accounts import (
    AccountFrozen,
    EmailNotVerified,
    EmailTaken,
    IdentityTaken,
    ImpersonationRefused,
    ImpersonationRunning,
    InvalidCode,
    InvalidCredentials,
    InvalidToken,
    IssuerAnswerRefused,
    LastAdmin,
    OtherAccount,
    PasskeyNotVerified,
    PasskeyTaken,
    PasswordNeeded,
    ReauthenticationRequired,
    RoleExists,
    RoleGone,
    RoleInUse,
    SecondFactorRequired,
    SignInRefused,
    StepLost,
    TokenExpired,
    TokenReused,
    WeakPassword,
    WrongCode,
)
from services.errors.kinds import (
    BadRequest,
    Conflict,
    CsrfFailed,
    DomainError,
    Forbidden,
    ForeignHost,
    HttpsRequired,
    IdempotencyMismatch,
    InternalError,
    Invalid,
    LinkExpired,
    MalformedJson,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
    RateLimited,
    Unavailable,
    UnsupportedMediaType,
)

__all__ = [
    "AccountFrozen",
    "BadRequest",
    "Conflict",
    "CsrfFailed",
    "DomainError",
    "EmailNotVerified",
    "EmailTaken",
    "Forbidden",
    "ForeignHost",
    "HttpsRequired",
    "IdempotencyMismatch",
    "IdentityTaken",
    "ImpersonationRefused",
    "ImpersonationRunning",
    "InternalError",
    "Invalid",
    "InvalidCode",
    "InvalidCredentials",
    "InvalidToken",
    "IssuerAnswerRefused",
    "LastAdmin",
    "LinkExpired",
    "MalformedJson",
    "MethodNotAllowed",
    "NotAuthenticated",
    "NotFound",
    "OtherAccount",
    "PasskeyNotVerified",
    "PasskeyTaken",
    "PasswordNeeded",
    "PayloadTooLarge",
    "PreconditionFailed",
    "RateLimited",
    "ReauthenticationRequired",
    "RoleExists",
    "RoleGone",
    "RoleInUse",
    "SecondFactorRequired",
    "SignInRefused",
    "StepLost",
    "TokenExpired",
    "TokenReused",
    "Unavailable",
    "UnsupportedMediaType",
    "WeakPassword",
    "WrongCode",
    "every_error",
    "registry",
]


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
