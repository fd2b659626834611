"""Who is spoken to over a network must prove who it is, and nobody else may listen (ASVS 12.3.1 to 12.3.4)."""

from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from services.settings.kinds import REDIS_SOCKET, checks_certificate, is_near

#: The options of a Redis URL that would weaken its TLS, and their values that do not.
STRICT = {"ssl_cert_reqs": {"required"}, "ssl_check_hostname": {"true", "True", "1"}}


class Settings(Protocol):
    """The variables that are looked at here; they can't be changed."""

    @property
    def DATABASE_URL(self) -> str: ...  # noqa: N802 - the variable's name, as are those below
    @property
    def DATABASE_TLS(self) -> str: ...  # noqa: N802
    @property
    def REDIS_URL(self) -> str: ...  # noqa: N802
    @property
    def RATELIMIT_STORAGE_URI(self) -> str: ...  # noqa: N802
    @property
    def REDIS_TLS(self) -> str: ...  # noqa: N802
    @property
    def AWS_S3_ENDPOINT_URL(self) -> str: ...  # noqa: N802
    @property
    def MAIL_SERVER(self) -> str: ...  # noqa: N802
    @property
    def MAIL_USE_TLS(self) -> bool: ...  # noqa: N802
    @property
    def MAIL_USE_SSL(self) -> bool: ...  # noqa: N802


def faults_of(settings: Settings) -> list[tuple[str, str]]:
    """Variable and reason of each distant server that would be spoken to in the clear, or believed unseen."""
    faults = []
    if settings.DATABASE_TLS == "verified" and not checks_certificate(settings.DATABASE_URL):
        reason = "does not check who answers: add ?sslmode=verify-full, or set DATABASE_TLS=optional"
        faults.append(("DATABASE_URL", reason))
    for name in ("REDIS_URL", "RATELIMIT_STORAGE_URI"):
        if settings.REDIS_TLS == "verified" and not checks_redis(getattr(settings, name)):
            faults.append((name, "does not check who answers: use rediss://, or set REDIS_TLS=optional"))
    if settings.AWS_S3_ENDPOINT_URL and not _checks_bucket(settings.AWS_S3_ENDPOINT_URL):
        faults.append(("AWS_S3_ENDPOINT_URL", "must start with https:// for a distant server"))
    if not (settings.MAIL_USE_TLS or settings.MAIL_USE_SSL or is_near(settings.MAIL_SERVER)):
        faults.append(("MAIL_USE_TLS", "or MAIL_USE_SSL must be on: mails hold links that open accounts"))
    return faults


def checks_redis(url: str) -> bool:
    """Whether a connection to this Redis is to a near host, or checks who answers."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    hosts = [unquote(parts.hostname)] if parts.hostname else query.get("host", [])
    if parts.scheme in {"", "postgresql", REDIS_SOCKET} or all(is_near(host) for host in hosts):
        return True
    is_strict = all(strict.issuperset(query.get(option, [])) for option, strict in STRICT.items())
    return parts.scheme == "rediss" and is_strict


def _checks_bucket(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_near(parts.hostname or ""))
