"""flask config: the settings as they are, as they could be, and what is wrong with them.

Works without a database, and while the settings are wrong: app.py then makes an application with these commands alone.
"""

import json
from dataclasses import asdict

import click
from flask import Blueprint, current_app

from blueprints.commands.terminal import write_table
from services.settings import telling
from services.settings.loading import Settings

bp = Blueprint("settings_commands", __name__, cli_group="config")
bp.cli.help = "Settings: what they are, where they come from, what is wrong."


@bp.cli.command("check")
def check() -> None:
    """Tell every fault of the settings, and exit with 1 if there is one."""
    settings = _settings()
    _, faults = settings.draft()
    for name, reason in faults.items():
        click.echo(f"{name}: {reason}", err=True)
    if faults:
        raise SystemExit(1)
    click.echo(f"The settings are good for {settings.ENVIRONMENT}.")


@bp.cli.command("explain")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
def explain(*, as_json: bool) -> None:
    """Tell each value and where it comes from; of secrets only whether they are set."""
    explained = telling.explain(_settings())
    if as_json:
        told = {
            row.name: {key: value for key, value in asdict(row).items() if key != "name"} for row in explained
        }
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
        return
    rows = [(row.name, row.value, f"wrong: {row.fault}" if row.fault else row.origin) for row in explained]
    write_table(("variable", "value", "from"), rows)


@bp.cli.command("example")
def example() -> None:
    """Write .env.example."""
    click.echo(telling.example(current_app.extensions["environments"]), nl=False)


@bp.cli.command("docs")
def docs() -> None:
    """Write docs/configuration.md."""
    click.echo(telling.page(current_app.extensions["environments"]), nl=False)


def _settings() -> type[Settings]:
    settings: type[Settings] = current_app.extensions["environments"][current_app.extensions["environment"]]
    return settings
