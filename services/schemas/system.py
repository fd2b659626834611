"""What the probes and the status tell."""

from typing import Literal

from services.schemas.base import Moment, Out


class HealthOut(Out):
    """Alive."""

    status: Literal["healthy"]
    timestamp: Moment


class StatusOut(Out):
    """What runs here."""

    name: str
    version: str
    environment: str
    commit: str | None
    uptime_seconds: int
    """Since the process started."""
