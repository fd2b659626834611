"""What the doors of the accounts take and give."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag

from models.enums import TokenPurpose
from services.schemas.base import Email, In, Label, Name, Opaque, Out, Password
from services.schemas.user import UserOut

#: What a mailed link is good for.
LinkPurpose = TokenPurpose

#: What a link that confirms an address needs beside itself: the account's password, or a new one.
Asks = Literal["current_password", "password"]

#: Six digits as typed; blanks between them don't matter.
TypedCode = Annotated[
    str,
    StringConstraints(pattern=r"^\s*[0-9]{3}[ -]?[0-9]{3}\s*$", max_length=20),
    Field(json_schema_extra={"examples": ["482 913"]}),
]


class RegisterIn(In):
    """A new account."""

    name: Name = Field(title="Name")
    email: Email = Field(title="E-mail address")
    password: Password = Field(title="Password")


class LoginIn(In):
    """Address and password."""

    email: Email = Field(title="E-mail address")
    password: Password = Field(title="Password")


class ApiLoginIn(LoginIn):
    """Address and password of an API caller."""

    device_name: Annotated[Label | None, Field(max_length=100)] = Field(None, title="Device")
    """How the session is called in the list of devices."""


class TokenPairOut(Out):
    """An access token with its refresh token."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    """Seconds the access token lives."""


class SignedInOut(TokenPairOut):
    """A finished sign-in."""

    status: Literal["signed_in"]
    user: UserOut


class SignedInHereOut(Out):
    """A finished sign-in of a browser: its session is in the cookie."""

    status: Literal["signed_in"]
    user: UserOut


class LinkOut(Out):
    """What a mailed link is about. `email` and `name` are "" where it is about nobody yet."""

    token: str
    email: str
    name: str
    asks: Asks | None
    """What it needs beside itself; None for the button alone."""


class NotMeOut(Out):
    """What "this was not me" has done."""

    mailed_to: str
    """The address, masked, that the link to a new password went to; "" when the account is held."""
    gives_back: bool
    """Whether the account has its former address again."""
    is_held: bool
    """Whether an administrator has to find out first whose account it is."""


class RefreshIn(In):
    """The latest refresh token."""

    refresh_token: Opaque = Field(title="Refresh token")


class EmailIn(In):
    """An address."""

    email: Email = Field(title="E-mail address")


#: What a person chooses while confirming an address, where the registration does not count as it stands.
ChosenName = Annotated[
    Name | None,
    Field(
        title="Name",
        description="With `password`: the account's name. Without it, what stands before the @ of the address.",
    ),
]
ChosenPassword = Annotated[
    Password | None,
    Field(
        title="Password",
        description=(
            "A new password. Needed for what was registered in a browser, and for a mail that was asked for again where"
            " several registered the address."
        ),
    ),
]
OwnPassword = Annotated[
    Password | None,
    Field(
        title="Current password",
        description="In a session of the account: everything that was set in it stays.",
    ),
]


class VerifyByLinkIn(In):
    """The token of a mailed link."""

    token: Opaque = Field(title="Token")
    name: ChosenName = None
    password: ChosenPassword = None


class VerifyByCodeIn(In):
    """The code of a mail, with the address it went to."""

    email: Email = Field(title="E-mail address")
    code: TypedCode = Field(title="Code")
    name: ChosenName = None
    password: ChosenPassword = None


class VerifyHereByLinkIn(VerifyByLinkIn):
    """The same in a browser, which may be signed in to the account."""

    current_password: OwnPassword = None


class VerifyHereByCodeIn(VerifyByCodeIn):
    """The same in a browser, which may be signed in to the account."""

    current_password: OwnPassword = None


class ConfirmOwnByLinkIn(VerifyHereByLinkIn):
    """The page of the link, in a session of the account."""

    current_password: Password = Field(title="Current password")


class ConfirmOwnByCodeIn(VerifyHereByCodeIn):
    """The page of the code, in a session of the account."""

    current_password: Password = Field(title="Current password")


class ConfirmAsNewByLinkIn(VerifyHereByLinkIn):
    """The page of the link, in another browser than the one that registered."""

    name: Name = Field(title="Name")
    password: Password = Field(title="Password")


class ConfirmAsNewByCodeIn(VerifyHereByCodeIn):
    """The page of the code, in another browser than the one that registered."""

    name: Name = Field(title="Name")
    password: Password = Field(title="Password")


def _way_to_verify(given: Any) -> str:
    return "VerifyByLinkIn" if not isinstance(given, dict) or "token" in given else "VerifyByCodeIn"


#: One or the other; faults are told of the one that was meant.
VerifyIn = Annotated[
    Annotated[VerifyByLinkIn, Tag("VerifyByLinkIn")] | Annotated[VerifyByCodeIn, Tag("VerifyByCodeIn")],
    Discriminator(_way_to_verify),
]
VerifyHereIn = Annotated[
    Annotated[VerifyHereByLinkIn, Tag("VerifyByLinkIn")]
    | Annotated[VerifyHereByCodeIn, Tag("VerifyByCodeIn")],
    Discriminator(_way_to_verify),
]


class TokenIn(In):
    """The token of a mailed link that needs nothing else."""

    token: Opaque = Field(title="Token")


class ResetPasswordIn(In):
    """The token of a mailed link and a new password."""

    token: Opaque = Field(title="Token")
    password: Password = Field(title="New password")


class SetupIn(In):
    """The first administrator."""

    token: Opaque = Field(title="Token")
    name: Name = Field(title="Name")
    email: Email = Field(title="E-mail address")
    password: Password = Field(title="Password")


class ChangePasswordIn(In):
    """The present password and a new one."""

    current_password: Password = Field(title="Current password")
    new_password: Password = Field(title="New password")


class ChangeEmailIn(In):
    """A new address, and the present password."""

    email: Email = Field(title="New e-mail address")
    current_password: Password = Field(title="Current password")
