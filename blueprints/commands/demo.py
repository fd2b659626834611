"""flask demo: sample data to look around in."""

import click
from flask import Blueprint, current_app

from blueprints.commands.terminal import refusals_told
from services import demo_service
from services.base_service import unit_of_work

bp = Blueprint("demo_commands", __name__, cli_group=None)


@bp.cli.command("demo")
@refusals_told
def demo() -> None:
    """Make forty sample accounts with a past, and an administrator to look at them; never in production."""
    if current_app.config["ENVIRONMENT"] == "production":
        raise click.ClickException("There is no sample data in production.")
    with unit_of_work():
        made = demo_service.fill()
    click.echo(f"{made.made} accounts were made." if made.made else "The sample data are there already.")
    click.echo(f"Sign in at {current_app.config['BASE_URL']}/auth/login")
    click.echo(f"  e-mail    {made.email}\n  password  {made.password}")
