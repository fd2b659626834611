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


@lru_cache(maxsize=4)
def _cipher(keys: str) -> MultiFernet:
    return MultiFernet([Fernet(key.strip()) for key in keys.split(",") if key.strip()])
