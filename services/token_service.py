"""Access tokens (JWT), and the opaque tokens of sessions, refreshes and mailed links.

Opaque tokens are 256 random bits; the database keeps their SHA-256 alone (ASVS 6.5.2, 9.1.1, 11.5.1).
"""

import hashlib
import hmac
import secrets
from datetime import timedelta
from uuid import UUID, uuid4

import jwt
from flask import current_app

from models.base import now
from services.errors import InvalidToken, TokenExpired
from services.signing_keys import AccessClaims, SigningKeys, signing_keys

ACCESS_TOKEN_SECONDS = 600
LEEWAY_SECONDS = 30
REQUIRED_CLAIMS = ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp"]


def make_access_token(user_id: int, session_id: UUID, *, generation: int) -> str:
    """A signed token (RFC 9068) that lives ten minutes and dies with its session.

    `generation` is that of the refresh token it is given out with (ADR-011).
    """
    moment = now()
    claims = {
        "iss": current_app.config["BASE_URL"],
        "aud": _audience(),
        "sub": str(user_id),
        "sid": str(session_id),
        "gen": generation,
        "jti": uuid4().hex,
        "iat": moment,
        "nbf": moment,
        "exp": moment + timedelta(seconds=ACCESS_TOKEN_SECONDS),
    }
    key = signing_keys().current
    return jwt.encode(claims, key.private, algorithm=key.algorithm, headers=key.header)


def read_access_token(token: str) -> AccessClaims:
    """The claims of a good token. Raises TokenExpired or InvalidToken.

    A signature once verified is remembered in a bounded cache; expiry is checked each time, and so is the session, by
    the caller.
    """
    keys = signing_keys()
    claims = keys.verified.get(token)
    if claims is None:
        claims = _verify(token, keys)
        keys.remember(token, claims)
    if now().timestamp() >= claims.expires + LEEWAY_SECONDS:
        raise TokenExpired
    return claims


def new_token() -> str:
    """An opaque token: 256 random bits, URL-safe."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """What the database keeps of an opaque token."""
    return hashlib.sha256(token.encode()).digest()


def new_code() -> str:
    """Six digits to type, good for minutes and a handful of tries."""
    return f"{secrets.randbelow(10**6):06}"


def code_digest(code: str, email: str) -> bytes:
    """What the database keeps of a typed code: keyed, since six digits are quickly tried out (ASVS 6.5.2)."""
    return _keyed("typed-code", f"{email}\n{code}")


def same(kept: bytes, presented: bytes) -> bool:
    """Compare digests in constant time."""
    return hmac.compare_digest(kept, presented)


def successor(refresh_token: str) -> str:
    """The refresh token that follows this one: derived, so a repeated call gets the same without our storing it."""
    return successors(refresh_token)[0]


def successors(refresh_token: str) -> list[str]:
    """`successor`, and what it was under each of SECRET_KEY_FALLBACKS: for an exchange before a change of the key."""
    return [urlsafe(following) for following in keyed_digests("refresh-token", refresh_token)]


def urlsafe(data: bytes) -> str:
    """Bytes as URL-safe text."""
    return jwt.utils.base64url_encode(data).decode()


def keyed_digest(purpose: str, text: str) -> bytes:
    """What the database keeps of a short secret: keyed, since it could be tried out (ASVS 6.5.2)."""
    return _keyed(purpose, text)


def keyed_digests(purpose: str, text: str) -> list[bytes]:
    """`keyed_digest`, and what it was under each of SECRET_KEY_FALLBACKS: for what outlives a change of the key."""
    former = current_app.config["SECRET_KEY_FALLBACKS"]
    return [keyed_digest(purpose, text), *(_keyed(purpose, text, key) for key in former)]


def _keyed(purpose: str, text: str, key: str | None = None) -> bytes:
    secret = key or current_app.config["SECRET_KEY"]
    return hmac.digest(secret.encode(), f"{purpose}\n{text}".encode(), "sha256")


def _audience() -> str:
    return f"{current_app.config['BASE_URL']}/api"


def _verify(token: str, keys: SigningKeys) -> AccessClaims:
    try:
        key = keys.that_wrote(jwt.get_unverified_header(token))
        if key is None:
            raise InvalidToken  # no jku, jwk, crit: we never write them, so we never follow them
        claims = jwt.decode(
            token,
            key.public,
            algorithms=[key.algorithm],
            audience=_audience(),
            issuer=current_app.config["BASE_URL"],
            leeway=LEEWAY_SECONDS,
            options={"require": REQUIRED_CLAIMS, "strict_aud": True},
        )
        if claims["exp"] - claims["iat"] > ACCESS_TOKEN_SECONDS:
            raise InvalidToken  # we never give out one that lives longer
        return AccessClaims(
            user_id=int(claims["sub"]),
            session_id=UUID(claims["sid"]),
            expires=float(claims["exp"]),
            # Tokens of the code before this one have none.
            generation=int(claims.get("gen", 0)),
        )
    except jwt.ExpiredSignatureError:
        raise TokenExpired from None
    except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        raise InvalidToken from None
