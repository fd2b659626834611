"""One-time links and typed codes: made, looked at, and used once; a newer one replaces the older ones.

Two kinds live side by side: those that say "this was not me", as every security mail has its own, and those that
confirm an address, as every registration has its own (ADR-015).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import current_app
from sqlalchemy import ColumnElement, Select, delete, exists, func, select, update

from models import OneTimeToken, User, db
from models.base import now
from models.enums import TokenPurpose
from services import token_service
from services.errors import LinkExpired, WrongCode

CODE_LIFE = timedelta(minutes=10)
CODE_TRIES = 5
SETUP_LIFE = timedelta(minutes=30)
NOT_ME_LIFE = timedelta(days=7)
#: What went to the account's own address, and dies when it gets another one; whoever was just then writing it, too.
TO_ITS_ADDRESS = frozenset(TokenPurpose) - {TokenPurpose.CHANGE_EMAIL, TokenPurpose.NOT_ME}
#: What the owner of an address asks for, to show for the first time that it is theirs.
PROOFS = frozenset({TokenPurpose.VERIFY_EMAIL, TokenPurpose.RESET_PASSWORD})


@dataclass(frozen=True, slots=True)
class Registration:
    """What somebody registered with, until the link of this very registration makes it the account's."""

    name: str
    password_hash: str


def make_verification(
    user: User, registration: Registration | None = None, *, browser_hash: bytes | None = None
) -> tuple[str, str]:
    """A link token and a code that confirm the account's address; the earlier ones stay good until one is used.

    `registration` is what they make the account's, `browser_hash` the browser that asked for them.
    """
    code = token_service.new_code()
    token = _add(
        TokenPurpose.VERIFY_EMAIL,
        user.id,
        user.email,
        verify_life(),
        code_hash=token_service.code_digest(code, user.email),
        code_expires_at=now() + CODE_LIFE,
        name=registration.name if registration else None,
        password_hash=registration.password_hash if registration else None,
        browser_hash=browser_hash,
    )
    return token, code


def registration_of(user_id: int, browser_hash: bytes | None) -> Registration | None:
    """What was last registered for an account in this browser, as long as a link of it is good."""
    row = db.session.execute(
        select(OneTimeToken.name, OneTimeToken.password_hash)
        .where(
            *_confirms(user_id),
            OneTimeToken.browser_hash == (browser_hash or b""),
            OneTimeToken.password_hash.is_not(None),
        )
        .order_by(OneTimeToken.id.desc())
        .limit(1)
    ).first()
    return Registration(row[0], row[1]) if row and row[0] and row[1] else None


def is_contested(user_id: int) -> bool:
    """Whether somebody registered this account's address with another password than the account was made with."""
    is_other = OneTimeToken.password_hash != User.password_hash
    asked = exists().where(*_confirms(user_id), User.id == user_id, is_other)
    return bool(db.session.scalar(select(asked)))


def verify_life() -> timedelta:
    """How long a link that confirms an address is good."""
    return timedelta(hours=current_app.config["VERIFY_LINK_HOURS"])


def make_email_change(user: User, email: str) -> str:
    """A link token that makes `email` the account's address."""
    return _replace(TokenPurpose.CHANGE_EMAIL, user, email, verify_life())


def make_reset(user: User) -> str:
    """A link token that sets a new password."""
    return _replace(TokenPurpose.RESET_PASSWORD, user, user.email, reset_life())


def reset_life() -> timedelta:
    """How long a reset link is good."""
    return timedelta(minutes=current_app.config["RESET_LINK_MINUTES"])


def make_invitation(user: User) -> str:
    """A link token that sets the first password."""
    return _replace(TokenPurpose.INVITE, user, user.email, invite_life())


def invite_life() -> timedelta:
    """How long an invitation is good."""
    return timedelta(hours=current_app.config["INVITE_LINK_HOURS"])


def make_restoring(user: User, *, until: datetime) -> str:
    """A link token that keeps an account which is to be deleted."""
    return _replace(TokenPurpose.RESTORE_ACCOUNT, user, user.email, until - now())


def make_download(user: User, *, until: datetime) -> str:
    """A link token that hands out the copy of somebody's data."""
    return _replace(TokenPurpose.DOWNLOAD_EXPORT, user, user.email, until - now())


def make_not_me(user: User, email: str) -> str:
    """A link token for a mail to `email` that says "this was not me". Those in earlier mails stay good.

    The claim of an address is as old as the first of its links, while they follow each other without a break; a new
    one is younger than all others, whatever the clocks say.
    """
    earliest = (
        select(func.min(OneTimeToken.claimed_at))
        .where(*_says_not_me(user.id), OneTimeToken.email == email)
        .scalar_subquery()
    )
    latest = select(func.max(OneTimeToken.claimed_at)).where(*_says_not_me(user.id)).scalar_subquery()
    youngest = func.greatest(now(), latest + timedelta(microseconds=1))
    return _add(
        TokenPurpose.NOT_ME, user.id, email, NOT_ME_LIFE, claimed_at=func.coalesce(earliest, youngest)
    )


def claims(user_id: int) -> dict[str, datetime]:
    """When each address came to be the account's, as far as links that are still good tell."""
    address, since = OneTimeToken.email, func.min(OneTimeToken.claimed_at)
    rows = db.session.execute(select(address, since).where(*_says_not_me(user_id)).group_by(address)).all()
    return {row[0]: row[1] for row in rows if row[0] and row[1]}


def forget_not_me(user_id: int, addresses: Iterable[str] | None = None) -> None:
    """Make the links that say "this was not me" worthless: those that went to `addresses`, or all."""
    statement = delete(OneTimeToken).where(
        OneTimeToken.user_id == user_id, OneTimeToken.purpose == TokenPurpose.NOT_ME
    )
    if addresses is not None:
        statement = statement.where(OneTimeToken.email.in_(list(addresses)))
    db.session.execute(statement)


def make_setup() -> str:
    """A link token that makes the first administrator; the former ones die."""
    db.session.execute(delete(OneTimeToken).where(OneTimeToken.purpose == TokenPurpose.SETUP_ADMIN))
    return _add(TokenPurpose.SETUP_ADMIN, None, None, SETUP_LIFE)


def look(token: str, purpose: TokenPurpose) -> OneTimeToken:
    """The link's row, unchanged: opening a link is not using it. Raises LinkExpired."""
    row = db.session.scalar(_live(token, purpose))
    if row is None:
        raise LinkExpired
    return row


def hold(token: str, purpose: TokenPurpose) -> OneTimeToken:
    """The link's row, locked and not used up yet. Raises LinkExpired, also for accounts that are suspended.

    The account is locked first, as by everybody who makes its links worthless: nobody waits for each other in a ring.
    """
    of_token = (OneTimeToken.token_hash == token_service.digest(token)) & (OneTimeToken.purpose == purpose)
    owner = select(OneTimeToken.user_id).where(of_token).scalar_subquery()
    db.session.execute(select(User.id).where(User.id == owner).with_for_update())
    row = db.session.scalar(_live(token, purpose).with_for_update(of=OneTimeToken))
    if row is None:
        raise LinkExpired
    return row


def use(token: str, purpose: TokenPurpose) -> OneTimeToken:
    """Use the link up; of two at once one wins. Raises as `hold`."""
    row = hold(token, purpose)
    db.session.delete(row)
    db.session.flush()  # the row is gone for whoever waited for it
    return row


def hold_code(user_id: int, email: str, code: str) -> OneTimeToken:
    """The row of a typed code, locked and not used up yet: of all codes that are good for the account just now.

    Five wrong tries make every one of them worthless. `user_id` is 0 for nobody's address: that takes the same
    statements. The account must be locked. Raises WrongCode.
    """
    is_good = (
        *_confirms(user_id),
        OneTimeToken.code_expires_at > now(),
        OneTimeToken.attempts < CODE_TRIES,
    )
    rows = db.session.scalars(
        select(OneTimeToken).where(*is_good).order_by(OneTimeToken.id.desc()).with_for_update()
    ).all()
    digest = token_service.code_digest("".join(filter(str.isdigit, code)), email)
    row = next((row for row in rows if token_service.same(row.code_hash or b"", digest)), None)
    if row is None:
        counted = update(OneTimeToken).where(*is_good).values(attempts=OneTimeToken.attempts + 1)
        db.session.execute(counted)
        raise WrongCode  # which keeps the counted try
    return row


def pending_address(user_id: int) -> str | None:
    """The address that waits for its owner to open the link of a change; None when no change is under way."""
    return db.session.scalar(
        select(OneTimeToken.email).where(
            OneTimeToken.user_id == user_id,
            OneTimeToken.purpose == TokenPurpose.CHANGE_EMAIL,
            OneTimeToken.expires_at > now(),
        )
    )


def forget_verifications(user_id: int) -> None:
    """Make every link and code worthless that confirms an account's address: it is confirmed."""
    is_one = OneTimeToken.purpose == TokenPurpose.VERIFY_EMAIL
    db.session.execute(delete(OneTimeToken).where(OneTimeToken.user_id == user_id, is_one))


def forget_all(user_id: int) -> None:
    """Make every link of an account worthless.

    Those that say "this was not me" stay: whoever has got in must not silence the mails that tell of it.
    """
    _forget_but(user_id, {TokenPurpose.NOT_ME})


def forget_from_within(user: User) -> None:
    """As `forget_all`, for what is done in a session: it spares the ways to a first proof of the address.

    Whoever registered an address of somebody else could go on making the links worthless that its owner asks for.
    """
    _forget_but(user.id, {TokenPurpose.NOT_ME} if user.email_verified else {TokenPurpose.NOT_ME, *PROOFS})


def purge() -> int:
    """Delete links that are too old; returns how many."""
    return len(
        db.session.scalars(
            delete(OneTimeToken).where(OneTimeToken.expires_at <= now()).returning(OneTimeToken.id)
        ).all()
    )


def _forget_but(user_id: int, spared: Collection[TokenPurpose]) -> None:
    db.session.execute(
        delete(OneTimeToken).where(OneTimeToken.user_id == user_id, OneTimeToken.purpose.not_in(spared))
    )


def _says_not_me(user_id: int) -> tuple[ColumnElement[bool], ...]:
    return (
        OneTimeToken.user_id == user_id,
        OneTimeToken.purpose == TokenPurpose.NOT_ME,
        OneTimeToken.expires_at > now(),
    )


def _confirms(user_id: int) -> tuple[ColumnElement[bool], ...]:
    return (
        OneTimeToken.user_id == user_id,
        OneTimeToken.purpose == TokenPurpose.VERIFY_EMAIL,
        OneTimeToken.expires_at > now(),
    )


def _live(token: str, purpose: TokenPurpose) -> Select[OneTimeToken]:
    is_owned: ColumnElement[bool] = User.is_active.expression
    if purpose in TO_ITS_ADDRESS:
        is_owned &= OneTimeToken.email == User.email
    if purpose == TokenPurpose.VERIFY_EMAIL:
        is_owned &= ~User.email_verified
    return (
        select(OneTimeToken)
        .outerjoin(User, User.id == OneTimeToken.user_id)
        .where(
            OneTimeToken.token_hash == token_service.digest(token),
            OneTimeToken.purpose == purpose,
            OneTimeToken.expires_at > now(),
            OneTimeToken.user_id.is_(None) | is_owned,
        )
    )


def _replace(purpose: TokenPurpose, user: User, email: str, life: timedelta) -> str:
    db.session.execute(
        delete(OneTimeToken).where(OneTimeToken.user_id == user.id, OneTimeToken.purpose == purpose)
    )
    return _add(purpose, user.id, email, life)


def _add(
    purpose: TokenPurpose, user_id: int | None, email: str | None, life: timedelta, **columns: Any
) -> str:
    token = token_service.new_token()
    db.session.add(
        OneTimeToken(
            purpose=purpose,
            user_id=user_id,
            email=email,
            token_hash=token_service.digest(token),
            expires_at=now() + life,
            **columns,
        )
    )
    return token
