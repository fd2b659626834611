"""An authenticator in software (WebAuthn Level 3 §6): real CBOR, real ECDSA, and every field can be bent.

What it gives is what `PublicKeyCredential.toJSON()` gives in a browser.
"""

import hashlib
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

ORIGIN = "http://localhost"
SITE = "localhost"
#: User present, user verified, attested data included.
PRESENT, VERIFIED, BACKUP_ELIGIBLE, BACKED_UP, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40


def b64(data: bytes) -> str:
    """Bytes as browsers write them."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def raw(text: str) -> bytes:
    """And back."""
    return urlsafe_b64decode(text + "==")


@dataclass
class Authenticator:
    """One device with one passkey. `count` is its counter; synced ones stay at 0."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential_id: bytes = field(default_factory=lambda: os.urandom(32))
    user_handle: bytes = b""
    count: int = 0
    counts: bool = True

    def create(
        self,
        options: Mapping[str, Any],
        *,
        origin: str = ORIGIN,
        site: str = SITE,
        flags: int = PRESENT | VERIFIED,
        kind: str = "webauthn.create",
        challenge: str | None = None,
        **client_data: Any,
    ) -> dict[str, Any]:
        """The answer to creation options; it remembers whose passkey it is."""
        self.user_handle = raw(options["user"]["id"])
        attested = (
            bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + self._public()
        )
        data = self._data(site, flags | ATTESTED) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._credential(
            {
                "clientDataJSON": b64(
                    _client_data(kind, challenge or options["challenge"], origin, client_data)
                ),
                "attestationObject": b64(attestation),
                "transports": ["internal", "hybrid"],
            }
        )

    def get(
        self,
        options: Mapping[str, Any],
        *,
        origin: str = ORIGIN,
        site: str = SITE,
        flags: int = PRESENT | VERIFIED,
        kind: str = "webauthn.get",
        challenge: str | None = None,
        user_handle: bytes | None = None,
        **client_data: Any,
    ) -> dict[str, Any]:
        """The answer to request options; the counter goes up by one."""
        self.count += self.counts
        data = self._data(site, flags)
        client = _client_data(kind, challenge or options["challenge"], origin, client_data)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        handle = self.user_handle if user_handle is None else user_handle
        return self._credential(
            {
                "clientDataJSON": b64(client),
                "authenticatorData": b64(data),
                "signature": b64(signature),
                **({"userHandle": b64(handle)} if handle else {}),
            }
        )

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": b64(self.credential_id),
            "rawId": b64(self.credential_id),
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response,
        }

    def _data(self, site: str, flags: int) -> bytes:
        return hashlib.sha256(site.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def _public(self) -> bytes:
        numbers = self.key.public_key().public_numbers()
        # COSE: an elliptic curve key (2) for ES256 (-7) on P-256 (1).
        return cbor2.dumps(
            {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        )


def _client_data(kind: str, challenge: str, origin: str, more: Mapping[str, Any]) -> bytes:
    told = {"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": False, **more}
    return json.dumps(told).encode()
