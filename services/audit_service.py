"""The audit log: who did what to whom, from where. Written in the transaction of its cause, so both are or neither.

Actions are `area:thing:what` in the vocabulary below (docs/audit.md).
"""

import csv
import io
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, case, func, or_, select
from sqlalchemy.orm import aliased

from models import AuditEvent, User, db
from models.base import AnyRow, AnySelect
from services.base_service import write_last
from services.origin import origin
from services.paging import Listing, page_of
from services.schemas.audit import AuditQuery, OwnEventQuery

ACTIONS: dict[str, str] = {
    "account:register": "Registered",
    "account:setup": "Set up as the first administrator",
    "account:create": "Account created",
    "account:invite": "Invited",
    "account:invite:accept": "Invitation accepted",
    "account:update": "Account changed",
    "account:role:change": "Role changed",
    "account:suspend": "Suspended",
    "account:reinstate": "Reinstated",
    "account:not_me": "“This was not me”: frozen",
    "account:unfreeze": "Opened again with a new password",
    "account:delete": "Account deleted",
    "account:impersonation:start": "An administrator signed in as this person",
    "account:impersonation:end": "The administrator is no longer signed in as this person",
    "account:picture:change": "Picture changed",
    "account:picture:remove": "Picture removed",
    "account:delete_request": "Deletion asked for",
    "account:delete_undo": "Deletion undone",
    "account:export": "Copy of the data asked for",
    "account:export:download": "Copy of the data downloaded",
    "account:delete_refused": "Deletion refused",
    "account:login:success": "Signed in",
    "account:login:failure": "Sign-in refused",
    "account:login:guessed": "Many wrong passwords in a row; told by mail",
    "account:logout": "Signed out",
    "account:reauthenticate:success": "Confirmed who it is",
    "account:reauthenticate:failure": "Confirmation refused",
    "account:factor:add": "Second step added",
    "account:factor:remove": "Second step removed",
    "account:factor:reset": "Second step reset by an administrator",
    "account:factor:guessed": "Several wrong codes after the right password; told by mail",
    "account:api_key:create": "API key made",
    "account:api_key:revoke": "API key revoked",
    "account:recovery_code:use": "Recovery code used",
    "account:recovery_code:renew": "New recovery codes made",
    "account:identity:link": "Account elsewhere connected",
    "account:identity:unlink": "Account elsewhere disconnected",
    "account:passkey:rename": "Passkey renamed",
    "account:passkey:copied": "Passkey refused: perhaps a copy",
    "account:device:new": "Signed in on a new device",
    "account:session:surplus": "Oldest device signed out: too many",
    "account:session:end": "Device signed out",
    "account:session:end_others": "Other devices signed out",
    "account:token:reuse": "Refresh token used twice; session ended",
    "account:email:verify": "E-mail address confirmed",
    "account:email:change_request": "Change of e-mail address asked for",
    "account:email:change": "E-mail address changed",
    "account:email:restore": "E-mail address set back",
    "account:password:change": "Password changed",
    "account:password:change_refused": "Change of password refused",
    "account:password:reset_request": "Password reset asked for",
    "account:password:reset": "Password reset",
    "role:create": "Role created",
    "role:update": "Role changed for its holders",
    "role:delete": "Role deleted",
    "mail:resend": "Mail sent again",
    "audit:purge": "Old events removed from the audit log",
    "security:slow_mode": "Wrong passwords for many accounts: slow mode",
}
CSV_COLUMNS = ("created_at", "action", "actor_id", "target_id", "ip", "user_agent", "request_id", "details")
CSV_ROWS = 10_000
#: In both widths: East Asian spreadsheets read the wide ones too.
FORMULA_STARTS = frozenset("=+-@＝＋－＠")
SORTS: Mapping[str, SQLColumnExpression[Any]] = {"created_at": AuditEvent.created_at, "id": AuditEvent.id}
#: Of one's own events: the id that everybody's share would tell who else has an account (ADR-018).
OWN_SORTS: Mapping[str, SQLColumnExpression[Any]] = {
    "created_at": AuditEvent.created_at,
    "id": AuditEvent.number,
}

#: How people read these of themselves.
OWN_ACTIONS: dict[str, str] = {
    **ACTIONS,
    "account:impersonation:start": "An administrator signed in as you",
    "account:impersonation:end": "The administrator is no longer signed in as you",
}
#: In the details of what an administrator did who was signed in as the actor.
IMPERSONATOR = "impersonator_id"

_actor, _target = aliased(User), aliased(User)
_ALL: AnySelect = (
    select(
        AuditEvent.id,
        AuditEvent.action,
        AuditEvent.actor_id,
        _actor.name.label("actor_name"),
        AuditEvent.target_id,
        _target.name.label("target_name"),
        AuditEvent.ip,
        AuditEvent.user_agent,
        AuditEvent.request_id,
        AuditEvent.details,
        AuditEvent.created_at,
    )
    .outerjoin(_actor, _actor.id == AuditEvent.actor_id)
    .outerjoin(_target, _target.id == AuditEvent.target_id)
)


def record(action: str, *, actor_id: int | None, target_id: int | None = None, **details: Any) -> None:
    """Add an event to the end of the transaction. `details` are plain JSON: before, after, reason; never a secret.

    While an administrator is signed in as somebody else, the event names him beside whom he acts as.
    """
    if action not in ACTIONS:
        raise ValueError(f"unknown audit action {action}")
    source = origin()
    if source.impersonator_id is not None and source.impersonator_id != actor_id:
        details[IMPERSONATOR] = source.impersonator_id
    event = AuditEvent(
        action=action,
        actor_id=actor_id,
        target_id=target_id if target_id is not None else actor_id,
        ip=source.address,
        user_agent=source.user_agent,
        request_id=source.request_id,
        details={name: value for name, value in details.items() if value is not None},
    )
    # The count of the target's events stays locked until the commit.
    write_last(event, turn=event.target_id or 0)


def is_by(user_id: int) -> ColumnElement[bool]:
    """Whether this person did it himself: not somebody else, nor an administrator signed in as him."""
    return func.coalesce((AuditEvent.actor_id == user_id) & ~AuditEvent.details.has_key(IMPERSONATOR), False)


def is_source_told(user_id: int) -> ColumnElement[bool]:
    """Whether the person is told address and agent: of what he did, and of what nobody known did.

    Of what another person did, an administrator say, he is not; nor where that one was signed in as him.
    """
    nobody_known = AuditEvent.actor_id.is_(None) & ~AuditEvent.details.has_key(IMPERSONATOR)
    return or_(nobody_known, is_by(user_id))


def page(query: AuditQuery) -> Listing:
    """Events, newest first unless asked otherwise, with the names of the people in them."""
    return page_of(_select(query), query, sorts=SORTS, key=AuditEvent.id)


def page_about(user_id: int, query: AuditQuery) -> Listing:
    """What concerns one account, for those who may see everything."""
    statement = _select(query).where(AuditEvent.target_id == user_id)
    return page_of(statement, query, sorts=SORTS, key=AuditEvent.id)


def latest_about(user_id: int, *, count: int) -> list[AnyRow]:
    """The newest few events that concern one account, for those who may see everything. One statement."""
    newest = _select(AuditQuery()).where(AuditEvent.target_id == user_id).order_by(AuditEvent.id.desc())
    return list(db.session.execute(newest.limit(count)).all())


def own_page(user_id: int, query: OwnEventQuery) -> Listing:
    """What happened to one's own account. Of what somebody else did, neither who nor from where."""
    return page_of(_filtered(_select_own(user_id), query), query, sorts=OWN_SORTS, key=AuditEvent.number)


def own_latest(user_id: int, count: int) -> list[AnyRow]:
    """The newest of one's own events, as `own_page` shows them."""
    newest = _select_own(user_id).order_by(AuditEvent.number.desc()).limit(count)
    return list(db.session.execute(newest).all())


def as_csv(query: AuditQuery) -> str:
    """The newest 10,000 events of the filter as CSV; cells that a spreadsheet would run as a formula are defused."""
    rows = db.session.execute(_select(query).order_by(AuditEvent.id.desc()).limit(CSV_ROWS)).all()
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(CSV_COLUMNS)
    writer.writerows([cell(getattr(row, column)) for column in CSV_COLUMNS] for row in rows)
    return out.getvalue()


def cell(value: Any) -> str:
    """A CSV cell: what a spreadsheet would run as a formula is prefixed, so that nothing is run (ASVS 1.2.10)."""
    text = _text(value)
    is_formula = text.lstrip()[:1] in FORMULA_STARTS or text[:1] in {"\t", "\r", "\n"}
    return f"'{text}" if is_formula else text


def _text(value: Any) -> str:
    """As the API writes it: times with Z, true and false, objects as JSON; nothing for none."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bool | dict):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)


def _select(query: AuditQuery) -> AnySelect:
    statement = _ALL
    if query.actor_id:
        statement = statement.where(AuditEvent.actor_id == query.actor_id)
    if query.target_id:
        statement = statement.where(AuditEvent.target_id == query.target_id)
    return _filtered(statement, query)


def _select_own(user_id: int) -> AnySelect:
    shown = is_source_told(user_id)
    return select(
        AuditEvent.number.label("id"),
        AuditEvent.action,
        is_by(user_id).label("by_you"),
        case((shown, AuditEvent.ip)).label("ip"),
        case((shown, AuditEvent.user_agent)).label("user_agent"),
        AuditEvent.details.has_key(IMPERSONATOR).label("by_impersonator"),
        case((_is_impersonation(), AuditEvent.details["reason"].astext)).label("reason"),
        AuditEvent.created_at,
    ).where(AuditEvent.target_id == user_id)


def _is_impersonation() -> ColumnElement[bool]:
    return AuditEvent.action == "account:impersonation:start"


def _filtered(statement: AnySelect, query: OwnEventQuery) -> AnySelect:
    if query.action:
        statement = statement.where(
            (AuditEvent.action == query.action)
            | AuditEvent.action.startswith(f"{query.action}:", autoescape=True)
        )
    if query.since:
        statement = statement.where(AuditEvent.created_at >= query.since)
    if query.until:
        statement = statement.where(AuditEvent.created_at < query.until)
    return statement
