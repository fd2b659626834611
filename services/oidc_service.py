"""Signing in elsewhere: the way out to the issuer, and what it answers (OpenID Connect Core 3.1, RFC 7636, RFC 9207).

A way out is a challenge whose token only the asking browser holds. State, nonce and PKCE verifier are derived from that
token under our key, so that nothing of them is stored. The issuer's own tokens are read here and then forgotten.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NoReturn
from urllib.parse import quote_plus, urlencode
from uuid import UUID

import structlog
from flask import current_app

from models.enums import ChallengePurpose
from services import (
    audit_service,
    challenge_service,
    issuer_service,
    outbound,
    throttle_service,
    token_service,
)
from services.errors import (
    InvalidToken,
    IssuerAnswerRefused,
    NotAuthenticated,
    StepLost,
    Unavailable,
)
from services.issuer_service import AWAY, Issuer, Metadata
from services.issuer_tokens import Shown, read_id_token, shown
from services.origin import origin
from services.outbound import OutboundFailed, OutboundRefused, Refusal
from services.principal import Principal
from services.token_service import LEEWAY_SECONDS

log = structlog.get_logger(__name__)

LIFE = timedelta(minutes=10)
SCOPE = "openid profile email"
CALLBACK = "/auth/oidc/callback"
LONGEST_CODE = 4_000
#: Errors that are the issuer's own; any other means that nobody was signed in.
BROKEN = frozenset({"server_error", "temporarily_unavailable"})


class Intent(StrEnum):
    """What somebody goes to the issuer for."""

    SIGN_IN = "sign_in"
    LINK = "link"
    CONFIRM = "confirm"


@dataclass(frozen=True, slots=True)
class WayOut:
    """Where to send the browser, and the token it keeps until it is back."""

    url: str
    token: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a browser that is back had set out for."""

    intent: Intent
    user_id: int | None
    session_id: UUID | None
    next_url: str
    token: str
    started_at: datetime


def start(intent: Intent, *, by: Principal | None = None, next_url: str = "") -> WayOut:
    """Begin: an address at the issuer, good for ten minutes and for the asking browser alone.

    Raises NotFound without an issuer, Unavailable while it is away, or RateLimited.
    """
    issuer = issuer_service.issuer()
    endpoint = (
        issuer.metadata().authorization_endpoint
    )  # first: nothing waits for the issuer with a connection
    throttle_service.spend(throttle_service.ISSUER_BY_ADDRESS, throttle_service.address())
    session_id = str(by.session_id) if by else None
    token = challenge_service.start(
        ChallengePurpose.OIDC,
        user_id=by.user_id if by else None,
        data={"intent": intent, "session": session_id, "next": next_url},
        life=LIFE,
    )
    query = {
        "response_type": "code",
        "client_id": current_app.config["CLIENT_ID"],
        "redirect_uri": _callback(),
        "scope": SCOPE,
        "state": state_of(token),
        "nonce": _derived("nonce", token),
        "code_challenge": token_service.urlsafe(
            hashlib.sha256(_derived("verifier", token).encode()).digest()
        ),
        "code_challenge_method": "S256",
        "max_age": str(0 if intent is Intent.CONFIRM else _oldest_seconds()),
    }
    if intent is Intent.CONFIRM:
        query["prompt"] = "login"
    return WayOut(f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}", token)


def take_up(tokens: Iterable[str], state: str) -> Asked:
    """What the browser that brings `state` had set out for; each way out is come back from once.

    `tokens` are those this browser keeps. Raises StepLost.
    """
    for token in tokens:
        if state and token_service.same(state_of(token).encode(), state.encode()):
            return _asked(token)
    raise StepLost


def redeem(asked: Asked, answer: Mapping[str, str]) -> Shown | None:
    """Exchange the code of the issuer's answer for who came; None when somebody said no there.

    Sends no statement before the issuer has answered.
    Raises StepLost (a code of somebody else), IssuerAnswerRefused or Unavailable.
    """
    issuer = issuer_service.issuer()
    metadata = issuer.metadata()
    told = answer.get("iss", None if metadata.names_itself else issuer.identifier)
    if told != issuer.identifier:
        _refuse("answer of another issuer")
    if "error" in answer:
        _note_error(answer["error"])
        return None
    code = answer.get("code", "")
    if not code or len(code) > LONGEST_CODE or not code.isascii() or not code.isprintable():
        raise StepLost
    try:
        tokens = _exchange(code, asked, issuer, metadata)
        found = read_id_token(
            _text(tokens, "id_token"),
            issuer,
            nonce=_derived("nonce", asked.token),
            max_age_seconds=_oldest_seconds(),
        )
        found = _with_userinfo(found, _text(tokens, "access_token"), issuer, metadata)
    except NotAuthenticated as error:
        _refuse(error.message)
    if asked.intent is Intent.CONFIRM:
        _check_is_recent(found, asked)
    return found


def state_of(token: str) -> str:
    """The `state` that belongs to a browser's token."""
    return _derived("state", token)


def _asked(token: str) -> Asked:
    try:
        challenge = challenge_service.use(token, ChallengePurpose.OIDC)
    except InvalidToken:
        raise StepLost from None
    told = challenge.data
    return Asked(
        intent=Intent(told["intent"]),
        user_id=challenge.user_id,
        session_id=UUID(told["session"]) if told["session"] else None,
        next_url=told["next"],
        token=token,
        started_at=challenge.created_at,
    )


def _exchange(code: str, asked: Asked, issuer: Issuer, metadata: Metadata) -> dict[str, Any]:
    client_id, secret = current_app.config["CLIENT_ID"], current_app.config["CLIENT_SECRET"]
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": _callback(),
        "code_verifier": _derived("verifier", asked.token),
        "client_id": client_id,
    }
    headers = {}
    if metadata.posts_secret:
        form["client_secret"] = secret
    else:  # RFC 6749 section 2.3.1: both parts are form-encoded first
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    try:
        return outbound.post_form(metadata.token_endpoint, form, hosts=issuer.hosts, headers=headers)
    except Refusal as error:
        if error.status == 400 and b"invalid_grant" in error.body:
            raise StepLost from None
        _away(f"token endpoint: {error}")
    except (OutboundFailed, OutboundRefused) as error:
        _away(f"token endpoint: {error}")


def _with_userinfo(found: Shown, access_token: str, issuer: Issuer, metadata: Metadata) -> Shown:
    """With the address from the userinfo endpoint, where the ID token bears none. It must be of the same subject."""
    if found.email is not None or metadata.userinfo_endpoint is None or not access_token:
        return found
    try:
        told = outbound.get_json(metadata.userinfo_endpoint, hosts=issuer.hosts, bearer=access_token)
    except (OutboundFailed, OutboundRefused) as error:
        _away(f"userinfo endpoint: {error}")
    if told.get("sub") != found.subject:
        raise InvalidToken("The userinfo is of another subject.")
    more = shown({**told, "iss": found.issuer})
    return Shown(
        issuer=found.issuer,
        subject=found.subject,
        email=more.email,
        email_verified=more.email_verified,
        name=found.name or more.name,
        authenticated_at=found.authenticated_at,
        has_second_factor=found.has_second_factor,
    )


def _check_is_recent(found: Shown, asked: Asked) -> None:
    began = asked.started_at.timestamp() - LEEWAY_SECONDS
    if found.authenticated_at is None or found.authenticated_at < began:
        _refuse("not asked again at the issuer")


def _note_error(error: str) -> None:
    if error in BROKEN:
        raise Unavailable(AWAY)
    log.info("issuer_declined", error=error[:60] if error.isprintable() else "?")


def _refuse(reason: str) -> NoReturn:
    audit_service.record("account:login:failure", actor_id=None, step="issuer", reason=reason)
    log.warning("issuer_answer_refused", reason=reason, request_id=origin().request_id)
    raise IssuerAnswerRefused


def _away(reason: str) -> NoReturn:
    log.error("issuer_away", reason=reason)
    raise Unavailable(AWAY)


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    return value if isinstance(value, str) else ""


def _oldest_seconds() -> int:
    """A sign-in at the issuer counts for as long as one of ours could (ASVS 7.6.1)."""
    return int(current_app.config["SESSION_ABSOLUTE_HOURS"]) * 3600


def _callback() -> str:
    return f"{current_app.config['BASE_URL']}{CALLBACK}"


def _derived(purpose: str, token: str) -> str:
    return token_service.urlsafe(token_service.keyed_digest(f"oidc-{purpose}", token))
