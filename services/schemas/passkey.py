"""Passkeys: what the doors take and give. The shapes of credentials and options are WebAuthn's own (Level 3, §5.1)."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from services.schemas.base import Email, In, Label, Opaque, Out, SomeLine

# Whole bytes: a last group of one character would be six bits of nothing.
_BASE64URL = r"^([A-Za-z0-9_-]{4})*([A-Za-z0-9_-]{2,3})?$"
#: Bytes as browsers write them: base64url without padding.
Base64Url = Annotated[
    str,
    StringConstraints(min_length=1, max_length=16_384, pattern=_BASE64URL),
    Field(json_schema_extra={"examples": ["c29tZSBieXRlcw"]}),
]
#: A credential's id has at most 1,023 bytes (WebAuthn §4).
CredentialId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1_364, pattern=_BASE64URL),
    Field(json_schema_extra={"examples": ["YSBjcmVkZW50aWFs"]}),
]
#: `usb`, `internal`, `hybrid` …: an open list.
Transport = Annotated[
    str,
    StringConstraints(min_length=1, max_length=32, pattern=r"^[a-z-]+$"),
    Field(json_schema_extra={"examples": ["internal"]}),
]
PasskeyName = Annotated[SomeLine, Field(max_length=60)]


class BrowserMade(In):
    """What a browser made: the fields we need are checked, those it adds of its own are passed over."""

    model_config = ConfigDict(extra="ignore")


class AttestationIn(BrowserMade):
    """What the device says of a new passkey."""

    client_data: Base64Url = Field(alias="clientDataJSON")
    attestation_object: Base64Url = Field(alias="attestationObject")
    transports: Annotated[list[Transport], Field(max_length=10)] | None = None


class AssertionIn(BrowserMade):
    """What the device says to prove that it holds a passkey."""

    client_data: Base64Url = Field(alias="clientDataJSON")
    authenticator_data: Base64Url = Field(alias="authenticatorData")
    signature: Base64Url
    user_handle: Base64Url | None = Field(None, alias="userHandle")


class CredentialIn(BrowserMade):
    """A credential as `PublicKeyCredential.toJSON()` gives it."""

    id: CredentialId
    raw_id: CredentialId = Field(alias="rawId")
    type: Literal["public-key"]


class NewCredentialIn(CredentialIn):
    """A new passkey as `navigator.credentials.create()` gives it."""

    response: AttestationIn


class UsedCredentialIn(CredentialIn):
    """A passkey's answer as `navigator.credentials.get()` gives it."""

    response: AssertionIn


def _from_field(schema: type[CredentialIn]) -> BeforeValidator:
    """A page's form carries the credential as JSON in a field."""

    def read(value: Any, info: ValidationInfo) -> Any:
        if info.mode == "json" or not isinstance(value, str):
            return value
        try:
            return schema.model_validate_json(value)
        except ValidationError:
            raise PydanticCustomError("credential", "The passkey's answer can't be read. Try again") from None

    return BeforeValidator(read)


class PasskeyNameIn(In):
    """What its owner calls it."""

    name: PasskeyName = Field(
        title="Name", description="What you will know it by, such as the device it is on."
    )


class PasskeyIn(PasskeyNameIn):
    """A new passkey."""

    secret_fields: ClassVar[frozenset[str]] = frozenset({"challenge_token", "credential"})

    challenge_token: Opaque = Field(title="Challenge")
    credential: Annotated[NewCredentialIn, _from_field(NewCredentialIn)] = Field(title="Passkey")


class PasskeyAnswerIn(In):
    """A passkey's answer to a challenge."""

    secret_fields: ClassVar[frozenset[str]] = frozenset({"challenge_token", "credential"})

    challenge_token: Opaque = Field(title="Challenge")
    credential: Annotated[UsedCredentialIn, _from_field(UsedCredentialIn)] = Field(title="Passkey")


class ApiPasskeyAnswerIn(PasskeyAnswerIn):
    """A passkey's answer from an API caller."""

    device_name: Annotated[Label | None, Field(max_length=100)] = Field(None, title="Device")
    """How the session is called in the list of devices; after a password, what was said there counts."""


class PasskeyAloneIn(In):
    """A sign-in by passkey alone."""

    email: Email | None = Field(None, title="E-mail address")
    """Only a passkey of this account will do. The answer is the same whether or not there is one."""


class PasskeyStepIn(In):
    """A passkey as the second step of a sign-in."""

    challenge_token: Opaque = Field(title="Challenge")
    """What the sign-in by password gave."""


def _way_to_begin(given: Any) -> str:
    is_step = isinstance(given, dict) and "challenge_token" in given
    return "PasskeyStepIn" if is_step else "PasskeyAloneIn"


#: One or the other; faults are told of the one that was meant.
PasskeyBeginIn = Annotated[
    Annotated[PasskeyStepIn, Tag("PasskeyStepIn")] | Annotated[PasskeyAloneIn, Tag("PasskeyAloneIn")],
    Discriminator(_way_to_begin),
]


class PasskeyOptionsOut(Out):
    """What the browser's part needs, and the token to send back with its result."""

    challenge_token: str
    expires_in: int
    """Seconds to answer in."""
    options: dict[str, Any]
    """For `navigator.credentials.create()` or `.get()`, as `publicKey`; bytes are base64url."""


class PasskeyOut(Out):
    """A passkey."""

    id: UUID
    name: str
    is_synced: bool
    """Whether its device keeps copies elsewhere."""
    created_at: datetime
    last_used_at: datetime | None


class PasskeyMadeOut(PasskeyOut):
    """A new passkey."""

    recovery_codes: list[str] | None
    """Ten codes, shown this once, when this is the account's first second step; null otherwise."""
