"""How long the audit log is kept."""

from typing import Annotated

from pydantic import AfterValidator, Field

from services.settings.loading import Settings

KEPT_FOR_EVER = 0
#: The database refuses to delete what is younger, whoever asks (migration 0012).
LEAST_DAYS = 90


def _retention(days: int) -> int:
    if days != KEPT_FOR_EVER and days < LEAST_DAYS:
        raise ValueError(f"must be 0 (for ever) or at least {LEAST_DAYS}")
    return days


class AuditSettings(Settings):
    """The variables of the audit log; a part of `Config`."""

    AUDIT_RETENTION_DAYS: Annotated[int, Field(ge=0, le=36_500), AfterValidator(_retention)] = 400
    """Audit events go after this: a year, and a month to look back on it. At least 90; 0 keeps them for ever."""
