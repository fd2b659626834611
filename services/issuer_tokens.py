"""What the issuer signs, checked: ID tokens and access tokens (OpenID Connect Core 3.1.3.7, RFC 9068, RFC 8725)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from flask import current_app

from models.base import now
from services.errors import InvalidToken, TokenExpired
from services.issuer_service import Issuer
from services.schemas.addresses import comparable
from services.token_service import LEEWAY_SECONDS, same

LONGEST_TOKEN = 16_384
LONGEST_SUBJECT = 255
#: An ID token is made for this very answer; an older one is somebody else's.
OLDEST_SECONDS = 600
ACCESS_TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt"})
#: What only ID tokens bear: one of those opens no API, whatever its audience.
ONLY_IN_ID_TOKENS = frozenset({"nonce", "at_hash", "c_hash"})
SUBJECT = re.compile(r"[\x20-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a good ID token says."""

    issuer: str
    subject: str
    #: In its one spelling, if it is an address at all.
    email: str | None
    email_verified: bool
    name: str | None
    #: Seconds since 1970; None when the issuer does not tell.
    authenticated_at: float | None
    has_second_factor: bool


def read_id_token(token: str, issuer: Issuer, *, nonce: str, max_age_seconds: int) -> Shown:
    """Who an ID token speaks of. Raises InvalidToken, or Unavailable when the keys can't be had."""
    client_id: str = current_app.config["CLIENT_ID"]
    kind, claims = _verified(token, issuer, audience=client_id)
    if kind not in {"", "jwt"}:
        raise InvalidToken("It is no ID token.")
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if set(audiences) != {client_id} or claims.get("azp", client_id) != client_id:
        raise InvalidToken("It is for somebody else too.")
    told = claims.get("nonce")
    if not isinstance(told, str) or not same(told.encode(), nonce.encode()):
        raise InvalidToken("It belongs to another sign-in.")
    moment = now().timestamp()
    if moment - _seconds(claims, "iat") > OLDEST_SECONDS:
        raise InvalidToken("It is too old.")
    authenticated_at = _seconds(claims, "auth_time") if "auth_time" in claims else None
    if authenticated_at is not None and moment - authenticated_at > max_age_seconds + LEEWAY_SECONDS:
        raise InvalidToken("The sign-in at the issuer is too old.")
    return shown(claims, authenticated_at)


@dataclass(frozen=True, slots=True)
class Delegated:
    """What a good access token says. `scopes` are every word that it grants, ours and others'."""

    subject: str
    has_second_factor: bool
    scopes: frozenset[str]


def read_access_token(token: str, issuer: Issuer) -> Delegated:
    """Whom an access token for our API speaks for, what it lets its bearer do, and whether it proves a second step.

    Raises InvalidToken, TokenExpired, or Unavailable when the keys can't be had.
    """
    kind, claims = _verified(token, issuer, audience=current_app.config["OIDC_AUDIENCE"])
    if kind not in ACCESS_TYPES or ONLY_IN_ID_TOKENS & claims.keys():
        raise InvalidToken
    return Delegated(claims["sub"], _proves_second_factor(claims), _scopes(claims))


def claims_to_be(token: str, issuer: str) -> bool:
    """Whether a bearer token says that this issuer made it: to choose the check, not to believe anything."""
    try:
        return bool(_peek(token)[1].get("iss") == issuer)
    except InvalidToken:
        return False


def shown(claims: Mapping[str, Any], authenticated_at: float | None = None) -> Shown:
    """The claims that we use; of what has the wrong type, nothing."""
    email, name = claims.get("email"), claims.get("name")
    return Shown(
        issuer=claims["iss"],
        subject=claims["sub"],
        email=comparable(email) if isinstance(email, str) else None,
        email_verified=claims.get("email_verified") is True,
        name=name if isinstance(name, str) else None,
        authenticated_at=authenticated_at,
        has_second_factor=_proves_second_factor(claims),
    )


def _verified(token: str, issuer: Issuer, *, audience: str) -> tuple[str, dict[str, Any]]:
    """The type in the header, in lower case, and the claims, once signature, issuer, audience and times are right."""
    header, unverified = _peek(token)
    algorithm, key_id = header.get("alg"), header.get("kid")
    if unverified.get("iss") != issuer.identifier or algorithm not in issuer.metadata().algorithms:
        raise InvalidToken
    if (key_id is not None and not isinstance(key_id, str)) or "crit" in header or "b64" in header:
        raise InvalidToken
    key = issuer.key(key_id, algorithm)
    if key is None:
        raise InvalidToken
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=issuer.identifier,
            audience=audience,
            leeway=LEEWAY_SECONDS,
            options={"require": ["iss", "aud", "sub", "iat", "exp"]},
        )
    except jwt.ExpiredSignatureError:
        raise TokenExpired from None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidToken from None
    if not SUBJECT.fullmatch(claims["sub"]):
        raise InvalidToken
    return str(header.get("typ") or "").lower(), claims


def _peek(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, of which nothing is known to be true."""
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise InvalidToken
    try:
        parts = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidToken from None
    return parts["header"], parts["payload"]


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise InvalidToken
    if value > now().timestamp() + LEEWAY_SECONDS:
        raise InvalidToken
    return float(value)


def _proves_second_factor(claims: Mapping[str, Any]) -> bool:
    """Whether `amr` or `acr` holds a value that OIDC_MFA_VALUES counts (RFC 8176; ASVS 6.8.4)."""
    told = claims.get("amr")
    values = [item for item in told if isinstance(item, str)] if isinstance(told, list) else []
    values += [claims["acr"]] if isinstance(claims.get("acr"), str) else []
    counting: tuple[str, ...] = current_app.config["OIDC_MFA_VALUES"]
    return bool(set(values) & (set(counting) - {"none"}))


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """The words of `scope` (RFC 9068), `scp` (Entra ID) and `permissions` (Auth0); none where there is none."""
    found: set[str] = set()
    for name in ("scope", "scp", "permissions"):
        told = claims.get(name)
        words = told.split(" ") if isinstance(told, str) else told if isinstance(told, list) else ()
        found.update(word for word in words if isinstance(word, str))
    return frozenset(found)
