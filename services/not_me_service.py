""" "This was not me": one click in a security mail shuts an account and starts a reset of its password.

The link proves nothing but that somebody reads a mail which went to its address. So it opens no session, tells no
address in full, and the way back in goes by mail alone: to the account's address, or to the one it had before whoever
got in changed it.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from models import OneTimeToken, User, db
from models.base import now
from models.enums import TokenPurpose
from services import (
    api_key_service,
    audit_service,
    challenge_service,
    export_service,
    factor_service,
    identity_service,
    known_device_service,
    link_service,
    mail_service,
    own_data,
    role_service,
    session_service,
    suspension_service,
    throttle_service,
    user_service,
)
from services.base_service import flush
from services.errors import LinkExpired
from services.link_service import NOT_ME_LIFE
from services.schemas.auth import NotMeOut

IN_QUESTION = "“This was not me” came from an address that another account has by now: whose account is this?"
GAVE_WAY = "its address was never confirmed, and went back to the account it was taken from"


@dataclass(frozen=True, slots=True)
class Ahead:
    """What the link will do, for the page that asks first."""

    mailed_to: str
    """The address the reset goes to, masked; "" when it is in question whose account this is."""
    gives_back: bool
    """Whether the account gets a former address back."""


def look_ahead(token: str) -> Ahead:
    """What the link will do; changes nothing. Raises LinkExpired."""
    row = link_service.look(token, TokenPurpose.NOT_ME)
    user = db.session.scalar(select(User).where(User.id == row.user_id))
    if user is None:
        raise LinkExpired
    mailed_to = _rightful_address(user, row, link_service.claims(user.id))
    gives_back = mailed_to != user.email
    is_free = not gives_back or _gives_way(user_service.find_by_email(mailed_to))
    return Ahead(mailed_to=masked(mailed_to) if is_free else "", gives_back=gives_back)


def act(token: str) -> NotMeOut:
    """Shut the account, drop what may not be its owner's, and mail the way back in. Raises LinkExpired or RateLimited.

    The account is locked before the link is used: of two links at once one does it, the other is told.
    """
    throttle_service.spend(throttle_service.LINK_BY_ADDRESS, throttle_service.address())
    user = _locked(link_service.look(token, TokenPurpose.NOT_ME).user_id)
    claims = link_service.claims(user.id)
    row = link_service.use(token, TokenPurpose.NOT_ME)
    rightful, former = _rightful_address(user, row, claims), user.email
    gives_back = rightful != former
    is_held = gives_back and not _give_back(user, rightful)
    _shut(user, since=now() - NOT_ME_LIFE)
    link_service.forget_not_me(user.id, _not_older(claims, row.email or ""))
    if is_held:
        suspension_service.hold(user, IN_QUESTION)
    else:
        _mail_way_back(user)
        if gives_back:
            mail_service.send("address_given_back", to=former, name=user.name)
    is_moved = gives_back and not is_held
    _alarm(user, until_now=former if is_moved else None, mailed_to=rightful if is_held else None)
    return NotMeOut(mailed_to="" if is_held else masked(user.email), gives_back=is_moved, is_held=is_held)


def masked(email: str) -> str:
    """An address that its owner recognises and nobody can write to: a•••@example.com."""
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}•••@{domain}"


def _locked(user_id: int | None) -> User:
    statement = select(User).where(User.id == user_id).with_for_update()
    user = db.session.scalar(statement.execution_options(populate_existing=True))
    if user is None:
        raise LinkExpired
    return user


def _rightful_address(user: User, row: OneTimeToken, claims: dict[str, datetime]) -> str:
    """The address of the link, if it was the account's before the present one; else the present one.

    So the link in a mail to whoever took the account over calls back no address, however late it comes.
    """
    address = row.email or user.email
    mine, present = claims.get(address), claims.get(user.email)
    is_older = mine is not None and (present is None or mine < present)
    return address if is_older else user.email


def _not_older(claims: dict[str, datetime], address: str) -> list[str]:
    """The addresses whose links die with this one: its own, and those that came after it."""
    mine = claims.get(address)
    return [other for other, since in claims.items() if mine is not None and since >= mine]


def _give_back(user: User, address: str) -> bool:
    """Make `address` the account's again. False when another account has a claim to it."""
    holder = user_service.find_by_email(address, lock=True)
    if not _gives_way(holder):
        return False
    if holder is not None:
        own_data.erase(holder)
        audit_service.record("account:delete", actor_id=None, target_id=holder.id, reason=GAVE_WAY)
    former, user.email, user.email_verified = user.email, address, True
    flush()  # EmailTaken, when somebody else was quicker: pressed again, it holds the account
    audit_service.record(
        "account:email:restore",
        actor_id=None,
        target_id=user.id,
        before={"email": former},
        after={"email": address},
    )
    return True


def _gives_way(holder: User | None) -> bool:
    """Registering takes no mailbox, nor does signing in where EMAIL_VERIFICATION is optional: whoever never confirmed
    the address has no claim to it, however long he used the account. One that somebody gave rights to is never
    deleted by a mail: it might be the last administrator.
    """
    if holder is None:
        return True
    return not holder.email_verified and not role_service.is_mighty(holder)


def _shut(user: User, *, since: datetime) -> None:
    """Nobody is in and nobody gets in; what was added `since` to sign in with is gone."""
    user.frozen_at = now()
    was_leaving, user.deletes_at = user.deletes_at is not None, None
    audit_service.record(
        "account:not_me",
        actor_id=None,
        target_id=user.id,
        ended=session_service.end_all(user.id),
        factors=factor_service.forget_since(user, since),
        identities=identity_service.forget_since(user.id, since),
        export=export_service.cancel(user.id),
        deletion=was_leaving,
    )
    known_device_service.forget_all(user.id)
    api_key_service.revoke_all(user.id)
    challenge_service.forget_all(user.id)
    link_service.forget_all(user.id)


def _mail_way_back(user: User) -> None:
    mail_service.send(
        "account_secured",
        to=user.email,
        name=user.name,
        token=link_service.make_reset(user),
        lifetime=link_service.reset_life(),
    )
    audit_service.record("account:password:reset_request", actor_id=None, target_id=user.id)


def _alarm(user: User, *, until_now: str | None, mailed_to: str | None) -> None:
    """Tell every administrator. `until_now` is the address that was taken off the account, `mailed_to` the one that
    could not be given back. The account's name is not told: whoever was in it may have written anything there.
    """
    mail_service.send_each(
        "account_frozen",
        role_service.reachable_admins(but=user.id),
        address=user.email,
        until_now=until_now,
        mailed_to=mailed_to,
        account_link=mail_service.link(f"/admin/users/{user.id}"),
    )
