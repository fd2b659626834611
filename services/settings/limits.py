"""The variables of limits: how often somebody may try, and where that is counted."""

from typing import Annotated, Literal

from pydantic import Field

from services.settings.kinds import StorageUri
from services.settings.loading import Settings


class Limits(Settings):
    """Part of every environment's settings."""

    RATELIMIT_ENABLED: bool = True
    """Limits on sign-in, mails and API calls. Off only for load tests; the log warns."""
    RATELIMIT_STORAGE_URI: StorageUri = ""
    """Where counters live: `postgresql` or a URL as REDIS_URL's. Empty: REDIS_URL when that is set, else postgresql."""
    REDIS_TLS: Literal["verified", "optional"] = "verified"
    """In staging and production a distant Redis must prove who it is (rediss://); `optional` lets it be. This machine,
    sockets and one-word names (container networks) are not distant."""
    API_REQUESTS_PER_MINUTE: Annotated[int, Field(ge=1)] = 600
    """Calls a user, or an address without one, may make."""
    EVEN_ANSWERS_MILLISECONDS: Annotated[int, Field(ge=0, le=2000)] = 150
    """Registering, confirming, and asking for a mail with a link, is answered no sooner than this: the clock must not
    tell who has an account. More than these requests take when the machine is busy."""
    SPRAY_LIMIT: Annotated[int, Field(ge=10)] = 1000
    """Wrong passwords from unknown devices in five minutes, all accounts together, that are still usual. Above it
    such devices get fewer tries and administrators a mail (docs/security/throttling.md)."""
