"""One-time links and typed codes: made, looked at, and used once; a newer one replaces the older ones.

Only the links that say "this was not me" live side by side: every security mail has its own.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from flask import current_app
from sqlalchemy import ColumnElement, Select, delete, func, select

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


def make_verification(user: User) -> tuple[str, str]:
    """A link token and a code that confirm the account's address."""
    code = token_service.new_code()
    return _make(TokenPurpose.VERIFY_EMAIL, user, user.email, verify_life(), code=code), code


def verify_life() -> timedelta:
    """How long a link that confirms an address is good."""
    return timedelta(hours=current_app.config["VERIFY_LINK_HOURS"])


def make_email_change(user: User, email: str) -> str:
    """A link token that makes `email` the account's address."""
    return _make(TokenPurpose.CHANGE_EMAIL, user, email, verify_life())


def make_reset(user: User) -> str:
    """A link token that sets a new password."""
    return _make(TokenPurpose.RESET_PASSWORD, user, user.email, reset_life())


def reset_life() -> timedelta:
    """How long a reset link is good."""
    return timedelta(minutes=current_app.config["RESET_LINK_MINUTES"])


def make_invitation(user: User) -> str:
    """A link token that sets the first password."""
    return _make(TokenPurpose.INVITE, user, user.email, invite_life())


def invite_life() -> timedelta:
    """How long an invitation is good."""
    return timedelta(hours=current_app.config["INVITE_LINK_HOURS"])


def make_restoring(user: User, *, until: datetime) -> str:
    """A link token that keeps an account which is to be deleted."""
    return _make(TokenPurpose.RESTORE_ACCOUNT, user, user.email, until - now())


def make_download(user: User, *, until: datetime) -> str:
    """A link token that hands out the copy of somebody's data."""
    return _make(TokenPurpose.DOWNLOAD_EXPORT, user, user.email, until - now())


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


def use(token: str, purpose: TokenPurpose) -> OneTimeToken:
    """Use the link up; of two at once one wins. Raises LinkExpired, also for accounts that are suspended.

    The account is locked first, as by everybody who makes its links worthless: nobody waits for each other in a ring.
    """
    of_token = (OneTimeToken.token_hash == token_service.digest(token)) & (OneTimeToken.purpose == purpose)
    owner = select(OneTimeToken.user_id).where(of_token).scalar_subquery()
    db.session.execute(select(User.id).where(User.id == owner).with_for_update())
    row = db.session.scalar(_live(token, purpose).with_for_update(of=OneTimeToken))
    if row is None:
        raise LinkExpired
    db.session.delete(row)
    db.session.flush()  # the row is gone for whoever waited for it
    return row


def use_code(email: str, code: str) -> OneTimeToken:
    """Use a typed code up. Five wrong tries, or ten minutes, and it is worth nothing. Raises WrongCode."""
    is_its = User.email == email
    user_id = db.session.scalar(select(User.id).where(is_its).with_for_update())  # first, as in `use`
    row = db.session.scalar(
        select(OneTimeToken)
        .where(
            OneTimeToken.user_id == (user_id or 0),
            OneTimeToken.purpose == TokenPurpose.VERIFY_EMAIL,
            OneTimeToken.email == email,
            OneTimeToken.code_expires_at > now(),
            OneTimeToken.attempts < CODE_TRIES,
        )
        .order_by(OneTimeToken.id.desc())
        .limit(1)
        .with_for_update()
    )
    digest = token_service.code_digest("".join(filter(str.isdigit, code)), email)
    if row is None:
        raise WrongCode
    if row.code_hash is None or not token_service.same(row.code_hash, digest):
        row.attempts += 1
        raise WrongCode  # which keeps the counted try
    db.session.delete(row)
    db.session.flush()  # as in `use`
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


def forget_all(user_id: int) -> None:
    """Make every link of an account worthless.

    Those that say "this was not me" stay: whoever has got in must not silence the mails that tell of it.
    """
    db.session.execute(
        delete(OneTimeToken).where(
            OneTimeToken.user_id == user_id, OneTimeToken.purpose != TokenPurpose.NOT_ME
        )
    )


def purge() -> int:
    """Delete links that are too old; returns how many."""
    return len(
        db.session.scalars(
            delete(OneTimeToken).where(OneTimeToken.expires_at <= now()).returning(OneTimeToken.id)
        ).all()
    )


def _says_not_me(user_id: int) -> tuple[ColumnElement[bool], ...]:
    return (
        OneTimeToken.user_id == user_id,
        OneTimeToken.purpose == TokenPurpose.NOT_ME,
        OneTimeToken.expires_at > now(),
    )


def _live(token: str, purpose: TokenPurpose) -> Select[OneTimeToken]:
    is_its_address = OneTimeToken.email == User.email
    is_owned = User.is_active & is_its_address if purpose in TO_ITS_ADDRESS else User.is_active
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


def _make(purpose: TokenPurpose, user: User, email: str, life: timedelta, *, code: str | None = None) -> str:
    db.session.execute(
        delete(OneTimeToken).where(OneTimeToken.user_id == user.id, OneTimeToken.purpose == purpose)
    )
    return _add(purpose, user.id, email, life, code=code)


def _add(
    purpose: TokenPurpose,
    user_id: int | None,
    email: str | None,
    life: timedelta,
    *,
    code: str | None = None,
    claimed_at: ColumnElement[datetime] | None = None,
) -> str:
    token = token_service.new_token()
    db.session.add(
        OneTimeToken(
            purpose=purpose,
            user_id=user_id,
            email=email,
            token_hash=token_service.digest(token),
            code_hash=token_service.code_digest(code, email or "") if code else None,
            code_expires_at=now() + CODE_LIFE if code else None,
            claimed_at=claimed_at,
            expires_at=now() + life,
        )
    )
    return token
