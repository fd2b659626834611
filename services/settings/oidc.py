"""What must hold for signing in with an issuer: all of it or none, https, and no doubt about whose tokens count."""

import ipaddress
from typing import Protocol
from urllib.parse import urlsplit

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
ON_OUR_OWN = frozenset({"development", "testing"})


class Settings(Protocol):
    """The variables that are looked at here; they can't be changed."""

    @property
    def AUTH0_DOMAIN(self) -> str: ...  # noqa: N802 - the variable's name, as are those below
    @property
    def OIDC_ISSUER(self) -> str: ...  # noqa: N802
    @property
    def CLIENT_ID(self) -> str: ...  # noqa: N802
    @property
    def CLIENT_SECRET(self) -> str: ...  # noqa: N802
    @property
    def OIDC_AUDIENCE(self) -> str: ...  # noqa: N802
    @property
    def OIDC_PRIVATE_NETWORK(self) -> bool: ...  # noqa: N802


def issuer_of(settings: Settings) -> str:
    """The issuer's identifier exactly as its tokens bear it, or "". Auth0's ends in a slash."""
    return f"https://{settings.AUTH0_DOMAIN}/" if settings.AUTH0_DOMAIN else settings.OIDC_ISSUER


def faults_of(settings: Settings, environment: str) -> list[tuple[str, str]]:
    """Variable and reason of what is wrong with these settings together."""
    faults: list[tuple[str, str]] = []
    issuer = issuer_of(settings)
    if settings.AUTH0_DOMAIN and settings.OIDC_ISSUER:
        faults.append(("OIDC_ISSUER", "can't be combined with AUTH0_DOMAIN"))
    for name in ("CLIENT_ID", "CLIENT_SECRET"):
        if issuer and not getattr(settings, name):
            faults.append((name, "is required for signing in with an issuer"))
    for name in ("CLIENT_ID", "CLIENT_SECRET", "OIDC_AUDIENCE"):
        if getattr(settings, name) and not issuer:
            faults.append((name, "needs AUTH0_DOMAIN or OIDC_ISSUER"))
    if settings.OIDC_AUDIENCE and settings.OIDC_AUDIENCE == settings.CLIENT_ID:
        faults.append(("OIDC_AUDIENCE", "must differ from CLIENT_ID, or ID tokens would open the API"))
    if reason := _unsafe(issuer, environment, is_private_fine=settings.OIDC_PRIVATE_NETWORK):
        faults.append(("AUTH0_DOMAIN" if settings.AUTH0_DOMAIN else "OIDC_ISSUER", reason))
    return faults


def _unsafe(issuer: str, environment: str, *, is_private_fine: bool) -> str:
    parts = urlsplit(issuer)
    host = parts.hostname or ""
    is_local = host in LOCAL_NAMES
    if is_local and environment not in ON_OUR_OWN:
        return "must not be this machine outside development and testing"
    if parts.scheme == "http" and not is_local:
        return "must start with https://"
    try:
        is_private = not is_local and not ipaddress.ip_address(host).is_global
    except ValueError:
        return ""
    return (
        "is a private address; set OIDC_PRIVATE_NETWORK=true if that is meant"
        if (is_private and not is_private_fine)
        else ""
    )
