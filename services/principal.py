"""The acting user, as one row of the session check tells."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts, through which session. Rights are read anew at each request, so changes count at once."""

    user_id: int
    #: None for a caller without a session: an API key, or an access token of the issuer.
    session_id: UUID | None
    email: str
    name: str
    role: str
    permissions: frozenset[str]
    kind: str
    authenticated_at: datetime
    has_second_factor: bool
    #: When the account goes for good; None unless its owner asked for that.
    deletes_at: datetime | None = None

    def can(self, permission: str) -> bool:
        """Whether the role holds this permission code."""
        return permission in self.permissions
