"""Accounts elsewhere as the API shows them."""

from uuid import UUID

from services.schemas.base import Moment, Out


class IdentityOut(Out):
    """An account at an issuer that opens one here."""

    id: UUID
    issuer: str
    subject: str
    """Who it is at the issuer."""
    email: str | None
    """The address at the issuer when it was last used."""
    created_at: Moment
    last_used_at: Moment | None
