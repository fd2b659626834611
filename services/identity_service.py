"""Accounts elsewhere that open accounts here: found by issuer and subject, joined by an address both sides confirmed.

The rules are in docs/single-sign-on.md; the cases they answer are pre-hijacking and unverified addresses at an issuer.
"""

from datetime import UTC, datetime
from typing import NoReturn
from uuid import UUID

from flask import current_app
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import delete, exists, select

from models import Role, User, db
from models.base import AnyRow, now
from models.enums import SessionKind
from models.identity import ExternalIdentity
from services import (
    audit_service,
    first_proof_service,
    issuer_service,
    issuer_tokens,
    passkey_service,
    security_service,
    session_service,
    suspension_service,
    user_service,
)
from services.base_service import found, insert_new
from services.errors import (
    Conflict,
    EmailTaken,
    IdentityTaken,
    InvalidToken,
    IssuerAnswerRefused,
    SecondFactorRequired,
    SignInRefused,
)
from services.issuer_tokens import Shown
from services.principal import Principal
from services.schemas.base import Email, Name

#: Who has never shown us anything, or not when: nothing fresh is open to them.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
NO_PROOF = "The token does not show a second step at the issuer, and this account has one here."


def user_of(shown: Shown) -> User:
    """The account that this identity opens, locked: linked before, joined by its address now, or made.

    Raises SignInRefused, the same for every reason.
    """
    identity = _find(shown)
    if identity is None:
        return _newcomer(shown)
    user = user_service.load(identity.user_id)
    suspension_service.end_if_over(user)
    if not user.is_active or user.frozen_at is not None:
        _refuse(user.id, "frozen" if user.is_active else "suspended")
    if not user.email_verified and current_app.config["EMAIL_VERIFICATION"] == "required":
        _refuse(user.id, "unverified here")
    identity.email, identity.last_used_at = shown.email, now()
    return user


def link(shown: Shown, *, by: Principal) -> None:
    """Connect an identity to one's own account; its address does not matter. Raises IdentityTaken."""
    identity = _find(shown)
    if identity is not None and identity.user_id != by.user_id:
        raise IdentityTaken
    if identity is None:
        _add(user_service.load_own(by), shown)


def unlink(identity_id: UUID, *, by: Principal) -> None:
    """Disconnect an identity; other sessions end, since it may have opened them.

    Raises NotFound, or Conflict when it is the last way into the account.
    """
    user = user_service.load_own(by)
    identity = found(
        db.session.scalar(
            select(ExternalIdentity).where(
                ExternalIdentity.public_id == identity_id, ExternalIdentity.user_id == user.id
            )
        )
    )
    if not has_other_way_in(user, without=identity.id):
        raise Conflict("This is your only way in. Set a password first.")
    db.session.delete(identity)
    session_service.end_all(user.id, keep=by.session_id)
    audit_service.record("account:identity:unlink", actor_id=user.id, before={"issuer": identity.issuer})
    _tell("identity_unlinked", user, identity.email)


def forget_since(user_id: int, moment: datetime) -> int:
    """Disconnect what was connected from `moment` on, without a word: part of something that has its own event."""
    statement = delete(ExternalIdentity).where(
        ExternalIdentity.user_id == user_id, ExternalIdentity.created_at >= moment
    )
    return len(db.session.scalars(statement.returning(ExternalIdentity.id)).all())


def list_of(user_id: int) -> list[AnyRow]:
    """The identities of an account, the oldest first, as IdentityOut."""
    statement = select(
        ExternalIdentity.public_id.label("id"),
        ExternalIdentity.issuer,
        ExternalIdentity.subject,
        ExternalIdentity.email,
        ExternalIdentity.created_at,
        ExternalIdentity.last_used_at,
    ).where(ExternalIdentity.user_id == user_id)
    return list(db.session.execute(statement.order_by(ExternalIdentity.id)).all())


def has_other_way_in(user: User, *, without: int | None = None) -> bool:
    """Whether its owner could still sign in to this account without that identity."""
    if user.password_hash is not None or passkey_service.count(user.id):
        return True
    return _is_connected(user.id, without=without)


def ways_to_confirm(by: Principal) -> tuple[bool, bool]:
    """Whether somebody signed in can show who he is by password, and at the issuer."""
    has_password = db.session.scalar(select(User.password_hash.is_not(None)).where(User.id == by.user_id))
    return bool(has_password), bool(current_app.config["OIDC_ISSUER"]) and _is_connected(by.user_id)


def confirm(shown: Shown, *, by: Principal) -> str:
    """Somebody signed in has shown again at the issuer who he is: as `sign_in_service.reauthenticate`.

    Raises IssuerAnswerRefused when somebody else came back.
    """
    identity = _find(shown)
    if identity is None or identity.user_id != by.user_id:
        audit_service.record("account:reauthenticate:failure", actor_id=by.user_id, step="issuer")
        raise IssuerAnswerRefused
    identity.last_used_at = now()
    audit_service.record("account:reauthenticate:success", actor_id=by.user_id, step="issuer")
    return session_service.renew(by) or ""


def is_issuers(token: str) -> bool:
    """Whether a bearer token is for the issuer's key to check rather than for ours. Nothing of it is believed yet."""
    return issuer_tokens.claims_to_be(token, current_app.config["OIDC_ISSUER"])


def find_bearer(token: str) -> Principal:
    """Who calls with an access token of the issuer: the active account it is linked to, without a session of ours.

    It may what its role allows and the token's scopes name as well (ASVS 10.3.2).
    One statement. Raises InvalidToken, TokenExpired, SecondFactorRequired when the account has a second step that the
    token does not prove, or Unavailable when the issuer's keys can't be had.
    """
    issuer = issuer_service.issuer()
    shown = issuer_tokens.read_access_token(token, issuer)
    row = _bearer(issuer.identifier, shown.subject)
    if row is None:
        raise InvalidToken("No account is connected to this token.")
    if row.has_second_factor and not shown.has_second_factor:
        raise SecondFactorRequired(NO_PROOF)
    return Principal(
        user_id=row.id,
        session_id=None,
        email=row.email,
        name=row.name,
        role=row.role,
        permissions=shown.scopes & frozenset(row.permissions),
        kind=SessionKind.API,
        authenticated_at=NEVER,
        has_second_factor=shown.has_second_factor,
        deletes_at=row.deletes_at,
    )


def _bearer(issuer: str, subject: str) -> AnyRow | None:
    return db.session.execute(
        select(
            User.id,
            User.email,
            User.name,
            User.role,
            User.has_second_factor,
            User.deletes_at,
            Role.permissions,
        )
        .join(Role, Role.name == User.role)
        .join(ExternalIdentity, ExternalIdentity.user_id == User.id)
        .where(
            ExternalIdentity.issuer == issuer,
            ExternalIdentity.subject == subject,
            User.is_active,
            User.frozen_at.is_(None),
        )
    ).first()


def _find(shown: Shown) -> ExternalIdentity | None:
    return db.session.scalar(
        select(ExternalIdentity).where(
            ExternalIdentity.issuer == shown.issuer, ExternalIdentity.subject == shown.subject
        )
    )


def _newcomer(shown: Shown) -> User:
    """Join by an address that the issuer has confirmed, or make an account with it."""
    email = _valid_email(shown)
    if email is None:
        _refuse(None, "unverified at the issuer")
    user = user_service.find_by_email(email, lock=True)
    if user is None:
        return _register(shown, email)
    if not user.is_active or user.frozen_at is not None:
        _refuse(user.id, "frozen" if user.is_active else "suspended")
    if not user.email_verified:
        _take_over(user, shown)
    _add(user, shown)
    return user


def _register(shown: Shown, email: str) -> User:
    user = insert_new(User, EmailTaken, email=email, name=_name(shown, email), email_verified=True)
    audit_service.record("account:register", actor_id=user.id, issuer=shown.issuer)
    _remember(user, shown)
    return user


def _take_over(user: User, shown: Shown) -> None:
    """Nothing that was set before opens the account any more, its password included."""
    if user.password_hash is not None:  # not an invitation: its name is a stranger's choice too
        user.name = _name(shown, user.email)
    user.password_hash = None
    first_proof_service.confirm(user, issuer=shown.issuer)


def _add(user: User, shown: Shown) -> None:
    _remember(user, shown)
    audit_service.record("account:identity:link", actor_id=user.id, after={"issuer": shown.issuer})
    _tell("identity_linked", user, shown.email)


def _remember(user: User, shown: Shown) -> None:
    insert_new(
        ExternalIdentity,
        IdentityTaken,
        user_id=user.id,
        issuer=shown.issuer,
        subject=shown.subject,
        email=shown.email,
        last_used_at=now(),
    )


def _tell(mail: str, user: User, email: str | None) -> None:
    security_service.tell(user, mail, issuer=current_app.config["OIDC_NAME"], issuer_email=email)


def _is_connected(user_id: int, *, without: int | None = None) -> bool:
    """Whether an identity of the present issuer opens this account; one of a former issuer opens nothing."""
    connected = exists().where(
        ExternalIdentity.user_id == user_id,
        ExternalIdentity.issuer == current_app.config["OIDC_ISSUER"],
        ExternalIdentity.id != (without or 0),
    )
    return bool(db.session.scalar(select(connected)))


def _valid_email(shown: Shown) -> str | None:
    try:
        return TypeAdapter(Email).validate_python(shown.email) if shown.email_verified else None
    except ValidationError:
        return None


def _name(shown: Shown, email: str) -> str:
    try:
        name: str = TypeAdapter(Name).validate_python(shown.name, strict=True)
    except ValidationError:
        name = ""
    return name or email.partition("@")[0]


def _refuse(user_id: int | None, reason: str) -> NoReturn:
    audit_service.record(
        "account:login:failure", actor_id=None, target_id=user_id, step="issuer", reason=reason
    )
    raise SignInRefused
