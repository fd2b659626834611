"""Encryption of what must not be readable from a copy of the database: Fernet under FIELD_ENCRYPTION_KEY."""

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from flask import current_app


class Undecipherable(Exception):
    """Encrypted under a key that FIELD_ENCRYPTION_KEY no longer holds, or damaged."""


def encrypt(plain: bytes) -> bytes:
    """Encrypt under the newest key."""
    return _cipher(current_app.config["FIELD_ENCRYPTION_KEY"]).encrypt(plain)


def decrypt(encrypted: bytes) -> bytes:
    """Decrypt what any of the keys encrypted. Raises Undecipherable."""
    try:
        return _cipher(current_app.config["FIELD_ENCRYPTION_KEY"]).decrypt(encrypted)
    except InvalidToken as error:
        raise Undecipherable from error


def has_former_keys() -> bool:
    """Whether FIELD_ENCRYPTION_KEY names more than the newest."""
    return len(_keys()) > 1


def is_newest(encrypted: bytes) -> bool:
    """Whether the newest key reads it, so that it needs no former one."""
    try:
        _cipher(_keys()[0]).decrypt(encrypted)
    except InvalidToken:
        return False
    return True


def renewed(encrypted: bytes) -> bytes:
    """The same under the newest key. Raises Undecipherable."""
    return encrypt(decrypt(encrypted))


def _keys() -> list[str]:
    return [key.strip() for key in current_app.config["FIELD_ENCRYPTION_KEY"].split(",") if key.strip()]


@lru_cache(maxsize=8)
def _cipher(keys: str) -> MultiFernet:
    return MultiFernet([Fernet(key.strip()) for key in keys.split(",") if key.strip()])
