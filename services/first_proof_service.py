"""The first proof that an address is its account's: by mailed link or typed code, by a reset, an invitation, an issuer.

Registering takes no mailbox, nor does signing in where EMAIL_VERIFICATION is optional. So whoever set something in the
account before may have been anybody, and nothing of it stays (pre-hijacking: ADR-015).
"""

from typing import Any

from sqlalchemy import delete

from models import User, db
from models.identity import ExternalIdentity
from services import (
    api_key_service,
    audit_service,
    challenge_service,
    export_service,
    factor_service,
    known_device_service,
    link_service,
    picture_service,
    session_service,
)


def confirm(user: User, **details: Any) -> None:
    """The address is its owner's, who has shown it without a session of the account. Later proofs change nothing.

    At the first one everything goes that opens the account or was set in it: sessions, second steps, passkeys,
    connected accounts, API keys, known devices, what is half done or mailed, copies, a deletion, the picture. Its role
    stays, which an administrator gave; name and password are for the caller to set. The account must be locked.
    `details` go into the event.
    """
    if user.email_verified:
        return
    user.email_verified = True
    user.deletes_at = None
    db.session.execute(delete(ExternalIdentity).where(ExternalIdentity.user_id == user.id))
    factor_service.forget_all(user)
    api_key_service.revoke_all(user.id)
    known_device_service.forget_all(user.id)
    challenge_service.forget_all(user.id)
    export_service.cancel(user.id)
    picture_service.forget(user)
    link_service.forget_all(user.id)
    link_service.forget_not_me(user.id)
    ended = session_service.end_all(user.id)
    audit_service.record("account:email:verify", actor_id=user.id, ended=ended, **details)


def confirm_own(user: User) -> None:
    """The address is that of whoever uses the account, in a session of it and with its password: everything stays."""
    user.email_verified = True
    link_service.forget_verifications(user.id)
    audit_service.record("account:email:verify", actor_id=user.id)
