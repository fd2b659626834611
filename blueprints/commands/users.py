"""flask users: accounts from the command line."""

import json
import sys
from datetime import UTC, datetime

import click
from flask import Blueprint, current_app

from blueprints.commands.terminal import json_option, moment, read, refusals_told, write_json, write_table
from blueprints.http import matrix
from services import operator_service, user_service
from services.base_service import reading, unit_of_work
from services.schemas.user import ListedUserOut, UserCreateIn, UserOut, UserQuery
from services.suspension_service import NO_REASON

bp = Blueprint("users_commands", __name__, cli_group="users")
bp.cli.help = "Accounts."
bp.cli.short_help = "Accounts: create, list, change, delete."

HEAD = ("id", "e-mail", "name", "role", "status", "last sign-in")
who_argument = click.argument("who", metavar="EMAIL_OR_ID")


@bp.cli.command("create")
@click.argument("email")
@click.option("--name", required=True, help="The person's name.")
@click.option("--role", default="member", show_default=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, one line.")
@json_option
@refusals_told
def create_user(email: str, *, name: str, role: str, password_stdin: bool, as_json: bool) -> None:
    """Make an account whose address counts as confirmed.

    Without a password a one-time link is printed, in which the person sets one.
    """
    password = _password() if password_stdin else None
    data = read(UserCreateIn, email=email, name=name, role=role, password=password)
    with unit_of_work():
        user, link = operator_service.create(data)
        made = UserOut.model_validate(user)
    if as_json:
        write_json(made, link=link)
        return
    click.echo(f"{made.email} has an account (id {made.id}, role {made.role}).")
    if link:
        hours = current_app.config["INVITE_LINK_HOURS"]
        click.echo(f"The person sets a password here; the link works once, for {hours} hours:\n{link}")


@bp.cli.command("list")
@click.option("--q", help="Part of the name or address.")
@click.option("--role", help="Only this role.")
@click.option("--status", type=click.Choice(["active", "suspended"]), help="Only these.")
@click.option("--limit", type=click.IntRange(min=1), default=1000, show_default=True)
@json_option
@refusals_told
def list_users(*, q: str | None, role: str | None, status: str | None, limit: int, as_json: bool) -> None:
    """List accounts by id."""
    users, has_more = _some(q=q, role=role, status=status, limit=limit)
    if as_json:
        write_json(users)
    else:
        write_table(HEAD, [_cells(user) for user in users])
    if has_more:
        click.echo(f"There are more than {limit}: --limit takes a larger number.", err=True)


@bp.cli.command("show")
@who_argument
@json_option
@refusals_told
def show_user(who: str, *, as_json: bool) -> None:
    """Show one account."""
    with reading():
        _tell(operator_service.resolve(who), as_json=as_json)


@bp.cli.command("set-role")
@who_argument
@click.argument("role")
@json_option
@refusals_told
def set_role(who: str, role: str, *, as_json: bool) -> None:
    """Give an account another role. The person is told by mail."""
    with unit_of_work():
        user_id = operator_service.resolve(who)
        user_service.set_role(user_service.load(user_id), role, by=None)
        _tell(user_id, as_json=as_json)


@bp.cli.command("deactivate")
@who_argument
@click.option("--reason", default=NO_REASON, show_default=True, help="The person reads it.")
@click.option(
    "--until", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE", help="The first day (UTC) to sign in again."
)
@json_option
@refusals_told
def deactivate_user(who: str, *, reason: str, until: datetime | None, as_json: bool) -> None:
    """Suspend an account: its sessions end, it can't sign in. The person is told by mail."""
    with unit_of_work():
        user_id = operator_service.resolve(who)
        user_service.suspend(user_id, reason, until=until.replace(tzinfo=UTC) if until else None, by=None)
        _tell(user_id, as_json=as_json)


@bp.cli.command("activate")
@who_argument
@json_option
@refusals_told
def activate_user(who: str, *, as_json: bool) -> None:
    """Let a suspended account in again. The person is told by mail."""
    with unit_of_work():
        user_id = operator_service.resolve(who)
        user_service.reinstate(user_id, by=None)
        _tell(user_id, as_json=as_json)


@bp.cli.command("delete")
@who_argument
@click.option("--yes", "is_sure", is_flag=True, help="Do not ask.")
@json_option
@refusals_told
def delete_user(who: str, *, is_sure: bool, as_json: bool) -> None:
    """Delete an account for good; its events stay. The person is told by mail."""
    with reading():
        user_id = operator_service.resolve(who)
        user = UserOut.model_validate(user_service.get(user_id, by=None))
    if not is_sure:
        click.confirm(f"Delete {user.email} ({user.name}) for good?", abort=True, err=True)
    with unit_of_work():
        user_service.delete(user_id, by=None)
    if as_json:
        write_json(user)
    else:
        click.echo(f"{user.email} is deleted.")


@bp.cli.command("explain")
@who_argument
@click.argument("method")
@click.argument("path")
@json_option
@refusals_told
def explain(who: str, method: str, path: str, *, as_json: bool) -> None:
    """Tell whether an account may call an address, and why; exit with 1 if it may not.

    For example: flask users explain ada@example.com DELETE /api/v1/users/5. What depends on the thing itself (whose it
    is, whether its owner may do more) is not looked at.
    """
    with reading():
        by, is_active = operator_service.as_if_signed_in(operator_service.resolve(who))
        verdict = matrix.explain(method, path, by=by, is_active=is_active)
    if as_json:
        click.echo(json.dumps(_explained(by.email, method, path, verdict), indent=2, ensure_ascii=False))
    else:
        told = "may" if verdict.is_allowed else "may not"
        click.echo(f"{by.email} {told} {method.upper()} {path} ({verdict.rule}).")
        for what, passed, words in verdict.steps:
            click.echo(f"  {'yes' if passed else 'no ':<4} {what}: {words}")
    if not verdict.is_allowed:
        raise SystemExit(1)


def _explained(email: str, method: str, path: str, verdict: matrix.Verdict) -> dict[str, object]:
    return {
        "allowed": verdict.is_allowed,
        "email": email,
        "method": method.upper(),
        "path": path,
        "rule": verdict.rule,
        "permission": verdict.permission,
        "steps": [{"step": what, "passed": passed, "told": words} for what, passed, words in verdict.steps],
    }


def _password() -> str:
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise click.UsageError("There is no password on standard input.")
    return password


def _some(
    *, q: str | None, role: str | None, status: str | None, limit: int
) -> tuple[list[ListedUserOut], bool]:
    """The accounts, and whether there are more than asked for."""
    active = {"active": "true", "suspended": "false"}.get(status or "")
    filters = {"q": q, "filter[role]": role, "filter[is_active]": active, "sort": "id"}
    users: list[ListedUserOut] = []
    cursor: str | None = ""
    with reading():
        while cursor is not None and len(users) < limit:
            query = read(UserQuery, cursor=cursor, per_page=min(100, limit - len(users)), **filters)
            listing = user_service.page(query)
            users += [ListedUserOut.model_validate(row) for row in listing.rows]
            cursor = (listing.next or {}).get("cursor")
    return users, cursor is not None


def _tell(user_id: int, *, as_json: bool) -> None:
    user = ListedUserOut.model_validate(user_service.get(user_id, by=None))
    if as_json:
        write_json(user)
        return
    for label, value in zip(HEAD, _cells(user), strict=True):
        click.echo(f"{label:<14}{value}")
    click.echo(f"{'created':<14}{moment(user.created_at)}")


def _cells(user: ListedUserOut) -> tuple[object, ...]:
    status = "active" if user.is_active else "suspended"
    if user.frozen_at is not None:
        status = "frozen" if user.is_active else f"{status}, frozen"
    if not user.email_verified:
        status += ", unconfirmed"
    return user.id, user.email, user.name, user.role, status, moment(user.last_login_at)
