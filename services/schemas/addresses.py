"""E-mail addresses: one spelling for each, made here alone; it is what is stored and compared (ADR 017)."""

import unicodedata

from email_validator import EmailNotValidError, validate_email

from services.schemas.seeing import hides_something

EMAIL_MAX_LENGTH = 254
#: Where an encoded word begins (RFC 2047): within a header, mail programs decode it, and see another address.
ENCODED_WORD = "=?"
_SMALL = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def canonical(address: str) -> str:
    """The one spelling of an address: NFC, A to Z as small letters, the domain in its Unicode form. Raises ValueError.

    The domain is mapped as browsers do it (UTS 46, non-transitional) and spelled in its own letters (RFC 5890:
    U-labels, each of which has one A-label). Before the @ no letter beyond A to Z is changed: İ and i may be one letter
    to one program and two to another, and so they are two mailboxes.
    """
    if len(address) > EMAIL_MAX_LENGTH:
        raise ValueError("longer than 254 characters")
    try:
        parts = validate_email(address.strip(" \t\r\n"), check_deliverability=False, test_environment=False)
    except EmailNotValidError as error:
        raise ValueError("not an e-mail address") from error
    if ENCODED_WORD in address or hides_something(address) or _turns_into_ascii(address):
        raise ValueError("not an e-mail address that everybody reads alike")
    return f"{parts.local_part.translate(_SMALL)}@{parts.domain}"


def comparable(text: str) -> str:
    """What to compare stored addresses with: the one spelling of an address, anything else as it is."""
    try:
        return canonical(text)
    except ValueError:
        return text


def _turns_into_ascii(address: str) -> bool:
    """Whether NFC makes plain ASCII of a letter before the @: the Kelvin sign a K, the Greek question mark a semicolon.

    Whoever confirmed the one mailbox has not shown that the other is theirs.
    """
    local = address.rpartition("@")[0]
    return any(not char.isascii() and unicodedata.normalize("NFC", char).isascii() for char in local)
