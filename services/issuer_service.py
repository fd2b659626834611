"""The issuer: what its discovery document says, and its keys. Asked rarely, by one caller at a time, and remembered.

OpenID Connect Discovery 1.0 section 4.3, RFC 8414 section 3.3; security cases A89 and F31.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import jwt
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from flask import Flask, current_app

from services import outbound
from services.errors import NotFound, Unavailable
from services.outbound import Hosts, OutboundFailed, OutboundRefused
from services.settings.oidc import ON_OUR_OWN

log = structlog.get_logger(__name__)
Found = TypeVar("Found")

#: Signatures that count: by what only the issuer holds. Never `none`, never HMAC.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
FRESH_SECONDS = 3600.0
#: What is known goes on serving while the issuer is away, for a day.
STALE_SECONDS = 86_400.0
#: A key nobody has heard of is looked for at most this often.
REFETCH_SECONDS = 60.0
#: After a failure nobody asks for this long.
PAUSE_SECONDS = 3.0
LEAST_RSA_BITS = 2048
MOST_KEYS = 100
AWAY = "Signing in this way does not work right now: the other side does not answer. Other ways do."


@dataclass(frozen=True, slots=True)
class Metadata:
    """What we need of the discovery document."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    algorithms: frozenset[str]
    #: The secret goes into the form, not into a header.
    posts_secret: bool
    #: The callback bears `iss` (RFC 9207).
    names_itself: bool


@dataclass(frozen=True, slots=True)
class Key:
    """A public key that signs, and with which algorithms."""

    id: str | None
    algorithms: frozenset[str]
    public: Any


class Remembered(Generic[Found]):
    """Something fetched: by one caller while the others wait, renewed hourly, kept for a day if it can't be."""

    def __init__(self, fetch: Callable[[], Found]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._value: Found | None = None
        self._fetched = self._failed = self._tried = float("-inf")

    def get(self) -> Found:
        """The value, fetched where need be. Raises Unavailable."""
        if self._value is not None and self._is_fresh():
            return self._value
        return self._renewed(unless=self._is_fresh)

    def get_newer(self, known: Found) -> Found:
        """A newer value than `known`; the same when that was asked for within a minute. Raises Unavailable."""
        return self._renewed(unless=lambda: self._value is not known or self._was_tried())

    def _renewed(self, *, unless: Callable[[], bool]) -> Found:
        if self._has_failed() or not self._lock.acquire(timeout=outbound.SECONDS):
            return self._kept()
        try:
            if self._value is not None and unless():
                return self._value  # somebody else was quicker
            if self._has_failed():
                return self._kept()
            self._value, self._fetched = self._fetch(), _clock()
            return self._value
        except (OutboundFailed, OutboundRefused) as error:
            self._failed = _clock()
            log.warning("issuer_away", reason=str(error))
            return self._kept()
        finally:
            self._lock.release()

    def _is_fresh(self) -> bool:
        return _clock() - self._fetched < FRESH_SECONDS

    def _has_failed(self) -> bool:
        return _clock() - self._failed < PAUSE_SECONDS

    def _was_tried(self) -> bool:
        """Whether a newer value was looked for within a minute; if not, it is now."""
        if _clock() - self._tried < REFETCH_SECONDS:
            return True
        self._tried = _clock()
        return False

    def _kept(self) -> Found:
        if self._value is not None and _clock() - self._fetched < STALE_SECONDS:
            return self._value
        raise Unavailable(AWAY)


class Issuer:
    """The configured issuer, as this process knows it."""

    def __init__(self, identifier: str, hosts: Hosts) -> None:
        self.identifier = identifier
        self.hosts = hosts
        self._metadata = Remembered(self._fetch_metadata)
        self._keys = Remembered(self._fetch_keys)

    def metadata(self) -> Metadata:
        """What the issuer says about itself. Raises Unavailable, also when that can't be trusted."""
        return self._metadata.get()

    def key(self, key_id: str | None, algorithm: str) -> Any:
        """The public key that a token names; None when the issuer has none such. Raises Unavailable."""
        keys = self._keys.get()
        return _only(keys, key_id, algorithm) or _only(self._keys.get_newer(keys), key_id, algorithm)

    def _fetch_metadata(self) -> Metadata:
        found = outbound.get_json(
            f"{self.identifier.rstrip('/')}/.well-known/openid-configuration", hosts=self.hosts
        )
        if found.get("issuer") != self.identifier:
            raise OutboundRefused("the discovery document is another issuer's")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            self._check(found.get(name))
        if found.get("userinfo_endpoint") is not None:
            self._check(found["userinfo_endpoint"])
        told = found.get("id_token_signing_alg_values_supported")
        methods = found.get("token_endpoint_auth_methods_supported")
        return Metadata(
            authorization_endpoint=found["authorization_endpoint"],
            token_endpoint=found["token_endpoint"],
            jwks_uri=found["jwks_uri"],
            userinfo_endpoint=found.get("userinfo_endpoint"),
            algorithms=frozenset(ALGORITHMS) & frozenset(_texts(told) or ALGORITHMS),
            posts_secret="client_secret_post" in _texts(methods),
            names_itself=found.get("authorization_response_iss_parameter_supported") is True,
        )

    def _check(self, endpoint: object) -> None:
        if not isinstance(endpoint, str):
            raise OutboundRefused("an endpoint is missing in the discovery document")
        self.hosts.check(endpoint)

    def _fetch_keys(self) -> list[Key]:
        found = outbound.get_json(self.metadata().jwks_uri, hosts=self.hosts).get("keys")
        if not isinstance(found, list) or len(found) > MOST_KEYS:
            raise OutboundFailed("no keys, or too many")
        keys = [key for entry in found if isinstance(entry, dict) and (key := _key(entry)) is not None]
        # No issuer signs without a key: this is a fault of its own, and what was known goes on serving.
        if not keys:
            raise OutboundFailed("no key that signs")
        if _is_ambiguous(keys):
            raise OutboundFailed("two keys of one name")
        return keys


def init_app(app: Flask) -> None:
    """Make the issuer known, if one is configured. It is asked when first needed, so it may be away at start."""
    identifier = app.config["OIDC_ISSUER"]
    if not identifier:
        return
    own = {outbound.netloc(identifier), *(f"{name}:443" for name in app.config["OIDC_HOSTS"])}
    app.extensions["issuer"] = Issuer(
        identifier,
        Hosts(
            frozenset(own),
            allows_local=app.config["ENVIRONMENT"] in ON_OUR_OWN,
            allows_private=app.config["OIDC_PRIVATE_NETWORK"],
        ),
    )


def issuer() -> Issuer:
    """The configured issuer. Raises NotFound when there is none."""
    found = current_app.extensions.get("issuer")
    if found is None:
        raise NotFound
    return cast("Issuer", found)


def _only(keys: list[Key], key_id: str | None, algorithm: str) -> Any:
    """The one key that fits; None when there is none, or when a token without a name would fit several."""
    fitting = [key for key in keys if algorithm in key.algorithms and (key_id is None or key.id == key_id)]
    return fitting[0].public if len(fitting) == 1 else None


def _is_ambiguous(keys: list[Key]) -> bool:
    """Whether two keys share a name and an algorithm: a token would fit both (RFC 7517 section 4.5)."""
    named = [(key.id, algorithm) for key in keys if key.id is not None for algorithm in key.algorithms]
    return len(named) > len(set(named))


def _key(entry: dict[str, Any]) -> Key | None:
    """A key that may check signatures; None for any other, and for what is no key or too weak a one."""
    if entry.get("use", "sig") != "sig" or "verify" not in (_texts(entry.get("key_ops")) or ["verify"]):
        return None
    if entry.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    fitting = _algorithms(entry)
    try:
        public = jwt.PyJWK(entry, algorithm=fitting[0]).key if fitting else None
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError):
        return None
    if public is None or "d" in entry:  # a private key that anybody can read signs nothing
        return None
    if isinstance(public, RSAPublicKey) and public.key_size < LEAST_RSA_BITS:
        return None
    key_id = entry.get("kid")
    return Key(key_id if isinstance(key_id, str) else None, frozenset(fitting), public)


def _algorithms(entry: dict[str, Any]) -> list[str]:
    families = {"RSA": ("RS", "PS"), "OKP": ("EdDSA",)}
    curves = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
    if entry["kty"] == "EC":
        fitting = [name for curve, name in curves.items() if entry.get("crv") == curve]
    else:
        fitting = [name for name in ALGORITHMS if name.startswith(families[entry["kty"]])]
    told = entry.get("alg")
    return [name for name in fitting if told is None or name == told]


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _clock() -> float:
    return time.monotonic()
