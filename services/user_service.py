"""Accounts: listed, read, made, changed, suspended and deleted."""

import csv
import io
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import SQLColumnExpression, bindparam, func, literal_column, or_, select

from models import User, db
from models.base import AnyRow, AnySelect, now
from models.reading import Prepared
from services import (
    audit_service,
    link_service,
    mail_service,
    own_data,
    password_service,
    role_service,
    security_service,
    session_service,
    suspension_service,
    throttle_service,
)
from services.audit_service import cell
from services.base_service import constraint_means, fetch_first, flush, found, insert_new
from services.errors import (
    AccountFrozen,
    Conflict,
    EmailTaken,
    Forbidden,
    NotFound,
    PreconditionFailed,
    ReauthenticationRequired,
)
from services.paging import Listing, page_of
from services.permissions import USERS_READ, USERS_WRITE
from services.principal import Principal
from services.schemas.addresses import comparable
from services.schemas.base import ID_MAX, etag_of
from services.schemas.user import UserCreateIn, UserOut, UserQuery, UserReplaceIn, UserUpdateIn

constraint_means("uq_users_email", EmailTaken)

COLUMNS = (
    User.id,
    User.email,
    User.name,
    User.role,
    User.is_active,
    User.email_verified,
    User.created_at,
    User.updated_at,
    User.last_login_at,
    User.picture,
    User.frozen_at,
)
_ALL: AnySelect = select(*COLUMNS)
_GET = Prepared(select(*COLUMNS).where(User.id == bindparam("user_id")))
# Accounts that never signed in sort before all others; the index has the same expression.
_LAST_LOGIN = func.coalesce(User.last_login_at, literal_column("'1970-01-01 00:00:00+00'::timestamptz"))
SORTS: Mapping[str, SQLColumnExpression[Any]] = {
    "created_at": User.created_at,
    "email": User.email,
    "id": User.id,
    "last_login_at": _LAST_LOGIN,
    "name": func.lower(User.name),
    "role": User.role,
    "updated_at": User.updated_at,
}
CSV_COLUMNS = tuple(UserOut.model_fields)
CSV_ROWS = 100_000


def page(query: UserQuery) -> Listing:
    """The accounts that match, in the order asked for."""
    return page_of(_select(query), query, sorts=SORTS, key=User.id)


def as_csv(query: UserQuery) -> str:
    """The accounts that match as CSV, at most 100,000; cells a spreadsheet would run are defused."""
    rows = db.session.execute(_select(query).order_by(User.id).limit(CSV_ROWS)).all()
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(CSV_COLUMNS)
    writer.writerows([cell(getattr(row, column)) for column in CSV_COLUMNS] for row in rows)
    return out.getvalue()


def get(user_id: int, *, by: Principal | None) -> AnyRow:
    """One account: one's own, or any with `users:read`. Raises NotFound. `by` is None for the command line."""
    if by is not None and user_id != by.user_id and not by.can(USERS_READ):
        raise NotFound
    return found(fetch_first(_GET, {"user_id": user_id}))


def find_by_email(email: str, *, lock: bool = False) -> User | None:
    """The account with this address, in its one spelling; `lock` keeps others from changing it."""
    statement = select(User).where(User.email == email)
    return db.session.scalar(statement.with_for_update() if lock else statement)


def refuse_taken(email: str, *, but: int) -> None:
    """Raise EmailTaken when another account than `but` has this address.

    Who takes it at this very instant is left to the constraint.
    """
    holder = find_by_email(email)
    if holder is not None and holder.id != but:
        raise EmailTaken


def load(user_id: int) -> User:
    """The account itself, locked, to change it. Raises NotFound."""
    return found(db.session.scalar(select(User).where(User.id == user_id).with_for_update()))


def load_own(by: Principal) -> User:
    """One's own account, locked, to change how it is signed in to or what it holds.

    The door has looked at the same before; this look counts for whoever waited here while the account was frozen, or
    given back to its owner. Raises NotFound, AccountFrozen, or InvalidToken when the session in use was ended.
    """
    statement = select(User).where(User.id == by.user_id).with_for_update()
    user = found(db.session.scalar(statement.execution_options(populate_existing=True)))
    if user.frozen_at is not None:
        raise AccountFrozen
    session_service.check_goes_on(by)
    return user


def load_managed(user_id: int, *, by: Principal | None) -> User:
    """The account itself, locked, to administer it.

    Raises NotFound, or Forbidden when it may do more than `by`, or is its own and `by` a key or an issuer's token.
    """
    _refuse_own_by_token(user_id, by)
    return _load_within(user_id, by=by)


def create(data: UserCreateIn, *, by: Principal | None) -> User:
    """Make an account: with a password it is ready at once, without one an invitation is mailed.

    Raises EmailTaken, Invalid (unknown role), Forbidden (a role above `by`), ReauthenticationRequired (a role that
    allows something, long after signing in), WeakPassword or RateLimited. `by` is None for the command line.
    """
    allowed = role_service.check_may_give(data.role, by=by)
    if allowed and by is not None and by.session_id is not None and not by.is_fresh:
        raise ReauthenticationRequired
    if data.password is None and by is not None:
        throttle_service.spend(throttle_service.INVITE_MAIL, data.email)
    if data.password is not None:
        password_service.check_strength(data.password, email=data.email, name=data.name)
    user = insert_new(
        User,
        EmailTaken,
        email=data.email,
        name=data.name,
        role=data.role,
        email_verified=data.password is not None,
        password_hash=password_service.hash_password(data.password) if data.password is not None else None,
    )
    audit_service.record("account:create", actor_id=_id_of(by), target_id=user.id, role=user.role)
    if data.password is None and by is not None:
        invite(user, by=by)
    return user


def invite(user: User, *, by: Principal) -> None:
    """Mail a link with which the person sets a password; it confirms the address too."""
    token = link_service.make_invitation(user)
    mail_service.send(
        "invitation",
        to=user.email,
        name=user.name,
        token=token,
        invited_by=by.name,
        lifetime=link_service.invite_life(),
    )
    audit_service.record("account:invite", actor_id=by.user_id, target_id=user.id)


def replace(
    user_id: int, data: UserReplaceIn, *, by: Principal, expected: frozenset[str] | None = None
) -> User:
    """Set everything that can be changed. Raises as `update`."""
    return _change(user_id, data.model_dump(), by=by, expected=expected)


def update(
    user_id: int, data: UserUpdateIn, *, by: Principal, expected: frozenset[str] | None = None
) -> User:
    """Change what was sent. Without `users:write` only one's own name.

    Raises NotFound, Forbidden, ReauthenticationRequired (a role or an address, long after signing in), EmailTaken,
    LastAdmin, Invalid (unknown role) or PreconditionFailed.
    """
    return _change(user_id, data.model_dump(exclude_unset=True), by=by, expected=expected)


def rename(name: str, *, by: Principal, expected: frozenset[str] | None = None) -> User:
    """Change one's own name. Raises PreconditionFailed."""
    return _change(by.user_id, {"name": name}, by=by, expected=expected)


def suspend(user_id: int, reason: str, *, until: datetime | None = None, by: Principal | None) -> User:
    """Bar somebody from signing in, for good or until a date; end his sessions, tell him why.

    Raises LastAdmin, Invalid (an end in the past), Conflict when suspended, or as `load_managed`.
    """
    user = load_managed(user_id, by=by)
    if not user.is_active:
        raise Conflict("This account is suspended already.")
    suspension_service.begin(user, reason, until=until, by=by)
    return user


def reinstate(user_id: int, *, by: Principal | None) -> User:
    """Let somebody in again. Raises Conflict when the account is not suspended, or as `load_managed`."""
    user = load_managed(user_id, by=by)
    if user.is_active:
        raise Conflict("This account is not suspended.")
    suspension_service.end(user, by=by)
    return user


def end_sessions(user_id: int, *, by: Principal) -> None:
    """Sign somebody out everywhere. Raises as `load_managed`."""
    load_managed(user_id, by=by)
    session_service.end_others(user_id, keep=None, by=by)


def end_session(user_id: int, session_id: UUID, *, by: Principal) -> None:
    """Sign somebody out on one device. Raises NotFound, also for a session of another account, or as `load_managed`."""
    load_managed(user_id, by=by)
    session_service.end(session_id, user_id=user_id, by=by)


def delete(
    user_id: int, *, by: Principal | None, expected: frozenset[str] | None = None, reason: str | None = None
) -> None:
    """Remove an account for good; its events stay, with the reason.

    Raises LastAdmin, PreconditionFailed, or as `load_managed`.
    """
    user = load_managed(user_id, by=by)
    check_expected(user, expected)
    role_service.keep_an_admin(user)
    own_data.erase(user)
    mail_service.send("account_deleted", to=user.email, name=user.name)
    audit_service.record(
        "account:delete", actor_id=_id_of(by), target_id=user_id, before={"role": user.role}, reason=reason
    )


def set_role(user: User, role: str, *, by: Principal | None) -> None:
    """Give another role, within ten minutes of signing in.

    Raises ReauthenticationRequired, Invalid (unknown role), Forbidden (a role above `by`) or LastAdmin.
    """
    if role == user.role:
        return
    if by is not None and not by.is_fresh:
        raise ReauthenticationRequired
    role_service.check_may_give(role, by=by)
    role_service.keep_an_admin(user)
    before, user.role = user.role, role
    audit_service.record(
        "account:role:change",
        actor_id=_id_of(by),
        target_id=user.id,
        before={"role": before},
        after={"role": role},
    )
    mail_service.send("role_changed", to=user.email, name=user.name, old_role=before, new_role=role)


def tell_address_changed(user: User, former: str) -> None:
    """Mail the former and the new address that one has taken the other's place.

    The former comes first: its claim is the older one.
    """
    for address in dict.fromkeys((former, user.email)):
        security_service.tell(user, "email_changed", to=address, old_email=former, new_email=user.email)


def check_expected(user: User, expected: frozenset[str] | None) -> None:
    """Raise PreconditionFailed when the account is no longer what the caller has read (RFC 9110 section 13.1.1)."""
    if (
        expected is not None
        and etag_of(UserOut.model_validate(user).model_dump_json().encode()) not in expected
    ):
        raise PreconditionFailed


def _load_within(user_id: int, *, by: Principal | None) -> User:
    user = load(user_id)
    role_service.check_may_manage(user, by=by)
    return user


def _refuse_own_by_token(user_id: int, by: Principal | None) -> None:
    """A key, or an issuer's token, that somebody finds must not shut its owner out."""
    if by is not None and by.session_id is None and by.user_id == user_id:
        raise Forbidden(
            "A key, or an issuer's token, does not do this to its owner's account. Sign in for it."
        )


def _select(query: UserQuery) -> AnySelect:
    statement = _ALL
    if query.q:
        statement = statement.where(_matches(query.q))
    if query.role:
        statement = statement.where(User.role == query.role)
    if query.is_active:
        statement = statement.where(User.is_active == (query.is_active == "true"))
    if query.email_verified:
        statement = statement.where(User.email_verified == (query.email_verified == "true"))
    return statement


def _matches(text: str) -> SQLColumnExpression[bool]:
    """Part of the name or address, the whole address in any spelling, or the whole id."""
    # The database's small letters on both sides: Python has others.
    sought = func.lower(text.replace("/", "//").replace("%", "/%").replace("_", "/_"))
    matches = func.lower(User.name + " " + User.email).contains(sought, escape="/")
    is_id = text.isascii() and text.isdigit() and int(text) <= ID_MAX
    return or_(matches, User.id == int(text) if is_id else User.email == comparable(text))


def _change(user_id: int, changes: dict[str, Any], *, by: Principal, expected: frozenset[str] | None) -> User:
    may_write = by.can(USERS_WRITE)
    if user_id != by.user_id and not by.can(USERS_READ):
        raise NotFound
    if not may_write and (user_id != by.user_id or changes.keys() - {"name"}):
        raise Forbidden
    user = _load_within(user_id, by=by)
    check_expected(user, expected)
    _set_active(user, changes.pop("is_active", user.is_active), by=by)
    set_role(user, changes.pop("role", user.role), by=by)
    before = {name: getattr(user, name) for name, value in changes.items() if getattr(user, name) != value}
    if "email" in before and not _may_set_address(user_id, by):
        raise ReauthenticationRequired
    if "email" in before:
        refuse_taken(changes["email"], but=user_id)
    for name in before:
        setattr(user, name, changes[name])
    if before:
        after = {name: changes[name] for name in before}
        audit_service.record(
            "account:update", actor_id=by.user_id, target_id=user.id, before=before, after=after
        )
    if "email" in before:
        _address_was_set(user, before["email"], by=by)
    user.updated_at = now() if db.session.is_modified(user) else user.updated_at
    flush()  # EmailTaken, when somebody took the address at this instant
    return user


def _may_set_address(user_id: int, by: Principal) -> bool:
    """Whoever reads an account's mail owns it. So as for a role; and no narrow key moves the account that it is of."""
    return by.is_fresh or (by.session_id is None and user_id != by.user_id)


def _address_was_set(user: User, former: str, *, by: Principal) -> None:
    """An administrator set another address: links to the old one die, both addresses are told.

    For somebody else he has the last word, as he may be giving the account back: no mail to whoever had it calls back
    his change.
    """
    link_service.forget_all(user.id)
    if by.user_id == user.id:
        tell_address_changed(user, former)
        return
    link_service.forget_not_me(user.id)
    for address in dict.fromkeys((former, user.email)):
        mail_service.send("email_set", to=address, name=user.name, old_email=former, new_email=user.email)


def _set_active(user: User, is_active: bool, *, by: Principal) -> None:
    if user.is_active != is_active:
        _refuse_own_by_token(user.id, by)
    if user.is_active and not is_active:
        suspension_service.begin(user, suspension_service.NO_REASON, until=None, by=by)
    elif is_active and not user.is_active:
        suspension_service.end(user, by=by)


def _id_of(by: Principal | None) -> int | None:
    return by.user_id if by else None
