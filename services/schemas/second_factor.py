"""The second step: what the doors take and give."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from services.schemas.auth import TypedCode
from services.schemas.base import In, Line, Opaque, Out, Password
from services.schemas.passkey import PasskeyAnswerIn

RecoveryCodeText = Annotated[
    Line,
    StringConstraints(min_length=16, max_length=40),
    Field(json_schema_extra={"examples": ["h7kq-9wd2-m4xr-p8tz"]}),
]


class SecondFactorRequiredOut(Out):
    """The password was right; a second step is missing."""

    status: Literal["second_factor_required"]
    challenge_token: str
    expires_in: int
    """Seconds to answer in."""
    methods: list[Literal["totp", "recovery_code", "passkey"]]


class CodeIn(In):
    """A code of the app."""

    code: TypedCode = Field(title="Code")


class RecoveryCodeIn(In):
    """A recovery code."""

    recovery_code: RecoveryCodeText = Field(title="Recovery code")


class VerifyCodeIn(CodeIn):
    """The challenge and a code of the app."""

    challenge_token: Opaque = Field(title="Challenge")


class VerifyRecoveryCodeIn(RecoveryCodeIn):
    """The challenge and a recovery code."""

    challenge_token: Opaque = Field(title="Challenge")


def _way_to_verify(given: Any) -> str:
    by_recovery_code = isinstance(given, dict) and "recovery_code" in given
    return "VerifyRecoveryCodeIn" if by_recovery_code else "VerifyCodeIn"


#: One or the other; faults are told of the one that was meant.
VerifyStepIn = Annotated[
    Annotated[VerifyCodeIn, Tag("VerifyCodeIn")]
    | Annotated[VerifyRecoveryCodeIn, Tag("VerifyRecoveryCodeIn")],
    Discriminator(_way_to_verify),
]


class TotpEnrolmentOut(Out):
    """What an authenticator app needs."""

    secret: str
    otpauth_uri: str
    qr_svg: str
    """The same as a QR code."""


class RecoveryCodesOut(Out):
    """Ten codes, shown this once."""

    recovery_codes: list[str]


class RecoveryCodesLeftOut(Out):
    """How many recovery codes are left."""

    remaining: int


class ReauthenticateByPasswordIn(In):
    """The password."""

    password: Password = Field(title="Password")


class ReauthenticateByCodeIn(In):
    """A code of the app."""

    code: TypedCode = Field(title="Code")


class ReauthenticateByPasskeyIn(PasskeyAnswerIn):
    """A passkey's answer."""


def _way_to_confirm(given: Any) -> str:
    named = given if isinstance(given, dict) else {}
    if "credential" in named or "challenge_token" in named:
        return "ReauthenticateByPasskeyIn"
    return "ReauthenticateByCodeIn" if "code" in named else "ReauthenticateByPasswordIn"


#: One or the other; faults are told of the one that was meant.
ReauthenticateIn = Annotated[
    Annotated[ReauthenticateByPasswordIn, Tag("ReauthenticateByPasswordIn")]
    | Annotated[ReauthenticateByCodeIn, Tag("ReauthenticateByCodeIn")]
    | Annotated[ReauthenticateByPasskeyIn, Tag("ReauthenticateByPasskeyIn")],
    Discriminator(_way_to_confirm),
]
