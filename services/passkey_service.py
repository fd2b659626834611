"""Passkeys (WebAuthn Level 3): registered, used, renamed, removed.

The site a passkey belongs to comes from BASE_URL, never from a request. Every passkey is made discoverable and with
user verification, so that each is good as the only step; that is why no answer here depends on whether an address is
known. What a device is asked lives in a challenge: single use, five minutes, bound to what it is for.
"""

from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from flask import current_app
from sqlalchemy import delete, func, select, update
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    base64url_to_bytes,
    bytes_to_base64url,
    generate_challenge,
    generate_user_handle,
    options_to_json_dict,
    parse_client_data_json,
)
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from models import User, db
from models.base import AnyRow, now
from models.enums import ChallengePurpose
from models.passkey import Passkey
from services import challenge_service
from services.base_service import found, insert_new
from services.challenge_service import LIFE
from services.errors import Conflict, InvalidToken, PasskeyNotVerified, PasskeyTaken
from services.schemas.passkey import PasskeyAnswerIn, PasskeyIn, PasskeyOptionsOut

log = structlog.get_logger(__name__)

MOST_PASSKEYS = 10
COLUMNS = (Passkey.id, Passkey.name, Passkey.is_synced, Passkey.created_at, Passkey.last_used_at)
TRANSPORTS = frozenset(transport.value for transport in AuthenticatorTransport)


class NotAccepted(Exception):
    """A passkey's answer does not hold. `passkey` is the one it claims to be of, if there is such a one."""

    def __init__(self, reason: str, passkey: Passkey | None = None) -> None:
        self.reason = reason
        self.passkey = passkey
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Answered:
    """A passkey that has proved itself, and what its challenge was about."""

    passkey: Passkey
    asked: dict[str, Any]


def is_possible() -> bool:
    """Whether browsers allow passkeys at BASE_URL: they want a name, not an address (WebAuthn §5.1.2)."""
    try:
        ip_address(_site_name())
    except ValueError:
        return True
    return False


def list_of(user_id: int) -> list[AnyRow]:
    """The passkeys of an account, the oldest first."""
    statement = select(*COLUMNS).where(Passkey.user_id == user_id).order_by(Passkey.created_at, Passkey.id)
    return list(db.session.execute(statement).all())


def count(user_id: int) -> int:
    """How many an account has."""
    return db.session.scalar(select(func.count()).select_from(Passkey).where(Passkey.user_id == user_id)) or 0


def registration_options(user: User) -> PasskeyOptionsOut:
    """What a device is asked to make a passkey for this account. Raises Conflict at ten."""
    own = _rows_of(user.id)
    if len(own) >= MOST_PASSKEYS:
        raise Conflict(f"An account has at most {MOST_PASSKEYS} passkeys. Remove one first.")
    challenge = generate_challenge()
    handle = own[0].user_handle if own else generate_user_handle()
    options = generate_registration_options(
        rp_id=_site_name(),
        rp_name=current_app.config["APP_NAME"],
        user_id=handle,
        user_name=user.email,
        user_display_name=user.name,
        challenge=challenge,
        timeout=_milliseconds(),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[_descriptor(passkey) for passkey in own],
    )
    data = {"challenge": bytes_to_base64url(challenge), "user_handle": bytes_to_base64url(handle)}
    token = challenge_service.start(ChallengePurpose.PASSKEY_REGISTRATION, user_id=user.id, data=data)
    return _told(token, options_to_json_dict(options))


def register(user: User, data: PasskeyIn) -> Passkey:
    """Keep a new passkey. Raises PasskeyNotVerified (whatever is wrong with it), PasskeyTaken or Conflict at ten.

    `user` is locked, so that two registrations at once are counted one after the other.
    """
    try:
        challenge = challenge_service.use(data.challenge_token, ChallengePurpose.PASSKEY_REGISTRATION)
    except InvalidToken as error:
        raise PasskeyNotVerified from error
    if challenge.user_id != user.id:
        raise PasskeyNotVerified
    try:
        _refuse_foreign_frame(data.credential.response.client_data)
        verified = verify_registration_response(
            credential=data.credential.model_dump(by_alias=True, exclude_none=True),
            expected_challenge=base64url_to_bytes(challenge.data["challenge"]),
            expected_rp_id=_site_name(),
            expected_origin=_origin(),
            require_user_verification=True,
        )
    except Exception as error:
        log.info("passkey_not_verified", reason=type(error).__name__)
        raise PasskeyNotVerified from error
    if count(user.id) >= MOST_PASSKEYS:
        raise Conflict(f"An account has at most {MOST_PASSKEYS} passkeys. Remove one first.")
    return insert_new(
        Passkey,
        PasskeyTaken,
        user_id=user.id,
        name=data.name,
        credential_id=verified.credential_id,
        public_key=verified.credential_public_key,
        user_handle=base64url_to_bytes(challenge.data["user_handle"]),
        sign_count=verified.sign_count,
        transports=sorted(TRANSPORTS.intersection(data.credential.response.transports or [])),
        is_synced=verified.credential_backed_up,
        created_at=now(),
    )


def request_options(
    *, about: dict[str, Any], user_id: int | None = None, is_second_step: bool = False
) -> PasskeyOptionsOut:
    """What a device is asked to prove that it holds a passkey; `about` comes back with the answer.

    After a password the account's passkeys are named and a touch is enough; otherwise the device finds its passkey
    itself and verifies its user.
    """
    challenge = generate_challenge()
    wanted = UserVerificationRequirement.PREFERRED if is_second_step else UserVerificationRequirement.REQUIRED
    named = [_descriptor(passkey) for passkey in _rows_of(user_id)] if user_id and is_second_step else None
    options = generate_authentication_options(
        rp_id=_site_name(),
        challenge=challenge,
        timeout=_milliseconds(),
        allow_credentials=named,
        user_verification=wanted,
    )
    data = {**about, "challenge": bytes_to_base64url(challenge), "is_second_step": is_second_step}
    token = challenge_service.start(ChallengePurpose.PASSKEY_SIGN_IN, user_id=user_id, data=data)
    return _told(token, options_to_json_dict(options))


def answered(data: PasskeyAnswerIn) -> Answered:
    """The passkey that answered, and what it was asked about; the challenge is used up, whatever comes of it.

    Raises InvalidToken without a live challenge, NotAccepted when the answer does not hold. The counter changes only
    when everything else was right.
    """
    challenge = challenge_service.use(data.challenge_token, ChallengePurpose.PASSKEY_SIGN_IN)
    asked: dict[str, Any] = challenge.data
    passkey = _locked(base64url_to_bytes(data.credential.raw_id))
    if passkey is None:
        raise NotAccepted("unknown")
    if challenge.user_id not in (None, passkey.user_id) or asked.get("is_nobody"):
        raise NotAccepted("another_account")
    count = _verify(data, passkey, asked)
    if count <= passkey.sign_count and (count or passkey.sign_count):
        raise NotAccepted("counter_went_back", passkey)
    passkey.sign_count, passkey.last_used_at = count, now()
    return Answered(passkey, asked)


def rename(passkey_id: UUID, name: str, *, user_id: int) -> Passkey:
    """Give a passkey another name. Raises NotFound."""
    statement = (
        update(Passkey)
        .where(Passkey.id == passkey_id, Passkey.user_id == user_id)
        .values(name=name)
        .returning(Passkey)
    )
    return found(db.session.scalar(statement))


def get(passkey_id: UUID, *, user_id: int) -> AnyRow:
    """One passkey of an account. Raises NotFound."""
    statement = select(*COLUMNS).where(Passkey.id == passkey_id, Passkey.user_id == user_id)
    return found(db.session.execute(statement).first())


def remove(passkey_id: UUID, *, user_id: int) -> str:
    """Forget a passkey; returns its name. Raises NotFound."""
    passkey = found(
        db.session.scalar(select(Passkey).where(Passkey.id == passkey_id, Passkey.user_id == user_id))
    )
    db.session.delete(passkey)
    db.session.flush()  # who asks for the account's methods next must not see it
    return passkey.name


def forget(user_id: int) -> None:
    """Drop every passkey of an account."""
    db.session.execute(delete(Passkey).where(Passkey.user_id == user_id))


def forget_since(user_id: int, moment: datetime) -> int:
    """Drop the passkeys of an account that were added from `moment` on; returns how many."""
    statement = delete(Passkey).where(Passkey.user_id == user_id, Passkey.created_at >= moment)
    return len(db.session.scalars(statement.returning(Passkey.id)).all())


def _locked(credential_id: bytes) -> Passkey | None:
    """The passkey, locked after its account: the order in which everybody locks them."""
    owner = select(Passkey.user_id).where(Passkey.credential_id == credential_id).scalar_subquery()
    db.session.scalar(select(User.id).where(User.id == owner).with_for_update())
    return db.session.scalar(select(Passkey).where(Passkey.credential_id == credential_id).with_for_update())


def _verify(data: PasskeyAnswerIn, passkey: Passkey, asked: dict[str, Any]) -> int:
    """The device's count, once everything but the count was right. Raises NotAccepted."""
    response = data.credential.response
    # Who found his account by the passkey must say whose it is; after a password that is known (WebAuthn §7.2).
    handle = base64url_to_bytes(response.user_handle) if response.user_handle else None
    if handle != passkey.user_handle and not (handle is None and asked["is_second_step"]):
        raise NotAccepted("user_handle", passkey)
    try:
        _refuse_foreign_frame(response.client_data)
        verified = verify_authentication_response(
            credential=data.credential.model_dump(by_alias=True, exclude_none=True),
            expected_challenge=base64url_to_bytes(asked["challenge"]),
            expected_rp_id=_site_name(),
            expected_origin=_origin(),
            credential_public_key=passkey.public_key,
            credential_current_sign_count=0,  # compared by the caller, once the signature is known to be right
            require_user_verification=not asked["is_second_step"],
        )
    except Exception as error:
        raise NotAccepted(type(error).__name__, passkey) from error
    return verified.new_sign_count


def _refuse_foreign_frame(client_data: str) -> None:
    """Our pages are never framed: an answer given within somebody else's page is no answer to us."""
    if parse_client_data_json(base64url_to_bytes(client_data)).cross_origin:
        raise NotAccepted("cross_origin")


def _rows_of(user_id: int) -> list[Passkey]:
    statement = select(Passkey).where(Passkey.user_id == user_id).order_by(Passkey.created_at, Passkey.id)
    return list(db.session.scalars(statement))


def _descriptor(passkey: Passkey) -> PublicKeyCredentialDescriptor:
    transports = [AuthenticatorTransport(name) for name in passkey.transports]
    return PublicKeyCredentialDescriptor(id=passkey.credential_id, transports=transports or None)


def _told(token: str, options: dict[str, Any]) -> PasskeyOptionsOut:
    return PasskeyOptionsOut(challenge_token=token, expires_in=int(LIFE.total_seconds()), options=options)


def _milliseconds() -> int:
    return int(LIFE.total_seconds() * 1000)


def _origin() -> str:
    parts = urlsplit(current_app.config["BASE_URL"])
    return f"{parts.scheme}://{parts.netloc}"


def _site_name() -> str:
    """The name passkeys belong to (relying party id)."""
    return urlsplit(current_app.config["BASE_URL"]).hostname or "localhost"
