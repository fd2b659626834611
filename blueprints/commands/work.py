"""flask worker, outbox and purge: what is done beside the requests."""

import json
from uuid import UUID

import click
from flask import Blueprint, current_app
from flask.cli import AppGroup

from blueprints.commands.processes import end_with_parent
from blueprints.commands.terminal import json_option, moment, read, refusals_told, write_json, write_table
from services import outbox_service
from services import worker as worker_loop
from services.base_service import reading, unit_of_work
from services.schemas.outbox import MailOut, OutboxQuery

bp = Blueprint("work_commands", __name__, cli_group=None)
outbox = AppGroup("outbox", help="Mails on their way.")
bp.cli.add_command(outbox)


@bp.cli.command("worker")
def worker() -> None:
    """Deliver mails and purge what has expired, until SIGTERM or Ctrl-C."""
    end_with_parent()
    worker_loop.run(current_app._get_current_object())  # type: ignore[attr-defined]  # the app behind the proxy


@bp.cli.command("purge")
@json_option
@refusals_told
def purge(*, as_json: bool) -> None:
    """Delete what has expired, once; the worker does it every hour."""
    counts = worker_loop.purge()
    if as_json:
        click.echo(json.dumps(counts))
        return
    write_table(("what", "deleted"), list(counts.items()))


@outbox.command("list")
@click.option("--status", type=click.Choice(["queued", "sent", "failed"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@json_option
@refusals_told
def list_mails(*, status: str | None, limit: int, as_json: bool) -> None:
    """List mails, newest first, without their content."""
    query = read(OutboxQuery, **{"filter[status]": status, "per_page": limit})
    with reading():
        mails = [MailOut.model_validate(row) for row in outbox_service.page(query).rows]
    if as_json:
        write_json(mails)
        return
    rows = [
        (mail.id, mail.status, mail.kind, mail.to_address, moment(mail.created_at), mail.last_error or "")
        for mail in mails
    ]
    write_table(("id", "status", "kind", "to", "written", "last error"), rows)


@outbox.command("resend")
@click.argument("mail_id", type=click.UUID)
@refusals_told
def resend(mail_id: UUID) -> None:
    """Queue a mail that was sent or given up once more."""
    with unit_of_work():
        outbox_service.resend(mail_id, by=None)
    click.echo("It is queued again.")
