"""The acting user, as one row of the session check tells."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.clock import now

#: How long a sign-in, or a confirmation, opens what is sensitive.
FRESH_FOR = timedelta(minutes=10)


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
    #: The name of the picture, if there is one.
    picture: str | None = None
    #: Since when the account is frozen (`not_me_service`); None for all but a few.
    frozen_at: datetime | None = None
    #: The administrator who is signed in as this person, and until when at most; none where it is the person.
    impersonator_id: int | None = None
    impersonation_ends_at: datetime | None = None

    def can(self, permission: str) -> bool:
        """Whether the role holds this permission code."""
        return permission in self.permissions

    @property
    def is_fresh(self) -> bool:
        """Whether he has shown within ten minutes who he is (ASVS 7.5.1); an API key or an impersonator never has."""
        if self.impersonator_id is not None:
            return False
        return self.session_id is not None and now() - self.authenticated_at <= FRESH_FOR
