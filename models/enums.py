"""Closed lists of words that columns and schemas share."""

from enum import StrEnum


class SessionKind(StrEnum):
    """How a session is carried: a cookie of a browser, or tokens of a program."""

    BROWSER = "browser"
    API = "api"


class TokenPurpose(StrEnum):
    """What a one-time link or code is good for."""

    VERIFY_EMAIL = "verify_email"
    CHANGE_EMAIL = "change_email"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - the name of a purpose
    INVITE = "invite"
    SETUP_ADMIN = "setup_admin"
    RESTORE_ACCOUNT = "restore_account"
    DOWNLOAD_EXPORT = "download_export"
    NOT_ME = "not_me"


class ExportStatus(StrEnum):
    """How far a copy of somebody's data is."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


class MailStatus(StrEnum):
    """Where a mail is on its way."""

    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"


class ChallengePurpose(StrEnum):
    """What a step half done waits for."""

    SECOND_FACTOR = "second_factor"
    PASSKEY_REGISTRATION = "passkey_registration"
    PASSKEY_SIGN_IN = "passkey_sign_in"
    OIDC = "oidc"
