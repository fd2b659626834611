"""The keys that sign access tokens: one secret (HS256), or with JWT_PRIVATE_KEY an Ed25519 pair and its forerunners.

A token is accepted only if its header is, to the letter, one that we write: the algorithm follows from our key, never
from the token (ASVS 9.1.2, 9.1.3; RFC 8725 section 3.1).
"""

import json
import threading
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from flask import Flask, current_app
from jwt.algorithms import OKPAlgorithm
from jwt.utils import base64url_encode

from services.pem import private_key, public_keys

TYPE = "at+jwt"
CACHE_SIZE = 10_000


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key with the header of the tokens it signs. `private` is None for a forerunner that only verifies."""

    algorithm: str
    private: Any
    public: Any
    kid: str | None = None

    @property
    def header(self) -> dict[str, str]:
        """Algorithm, type and key id, as every token of this key bears them."""
        head = {"alg": self.algorithm, "typ": TYPE}
        return {**head, "kid": self.kid} if self.kid else head


@dataclass(slots=True)
class AccessClaims:
    """What an access token says: whose it is, of which session, until when (seconds since 1970)."""

    user_id: int
    session_id: UUID
    expires: float
    #: By which exchange of refresh tokens it came; 0 for that of a sign-in.
    generation: int = 0
    #: Not of the token: this process has noted that it was presented, or there is nothing to note.
    is_noted: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_noted = self.generation == 0


class SigningKeys:
    """The key that signs, every key that is still accepted, and tokens whose signature was verified before."""

    def __init__(self, keys: list[SigningKey]) -> None:
        self.keys = keys
        self.current = keys[0]
        self.verified: dict[str, AccessClaims] = {}
        self._lock = threading.Lock()

    def remember(self, token: str, claims: AccessClaims) -> None:
        """Keep what a verified token says; the cache is bounded, and expiry is nobody's business here."""
        with self._lock:
            if len(self.verified) >= CACHE_SIZE:
                self.verified.clear()
            self.verified[token] = claims

    def that_wrote(self, header: dict[str, Any]) -> SigningKey | None:
        """The key whose tokens bear exactly this header."""
        return next((key for key in self.keys if key.header == header), None)

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public keys as a JSON Web Key Set (RFC 7517); empty with a secret, which nobody else may know."""
        return {"keys": [_jwk(key) for key in self.keys if key.kid]}


def init_app(app: Flask) -> None:
    """Read the keys that the settings name."""
    private, former = app.config["JWT_PRIVATE_KEY"], app.config["JWT_PUBLIC_KEYS"]
    if private:
        pair = private_key(private)
        keys = [_pair(pair.public_key(), pair), *(_pair(public) for public in public_keys(former))]
    else:
        secret = app.config["JWT_SECRET_KEY"]
        keys = [SigningKey("HS256", secret, secret)]
    app.extensions["signing_keys"] = SigningKeys(keys)


def signing_keys() -> SigningKeys:
    """The keys of the application in use."""
    keys: SigningKeys = current_app.extensions["signing_keys"]
    return keys


def _pair(public: Ed25519PublicKey, private: Ed25519PrivateKey | None = None) -> SigningKey:
    return SigningKey("EdDSA", private, public, _thumbprint(public))


def _thumbprint(public: Ed25519PublicKey) -> str:
    """The key's id: its JWK thumbprint (RFC 7638, RFC 8037 appendix A.3)."""
    members = {name: value for name, value in _members(public).items() if name in {"crv", "kty", "x"}}
    digest = hashes.Hash(hashes.SHA256())
    digest.update(json.dumps(members, separators=(",", ":"), sort_keys=True).encode())
    return base64url_encode(digest.finalize()).decode()


def _members(public: Ed25519PublicKey) -> dict[str, str]:
    return dict(OKPAlgorithm.to_jwk(public, as_dict=True))


def _jwk(key: SigningKey) -> dict[str, str]:
    return {**_members(key.public), "kid": key.kid or "", "alg": key.algorithm, "use": "sig"}
