"""flask doctor: is this deployment well?"""

import json
from dataclasses import asdict

import click
from flask import Blueprint, current_app

from services import doctor_service
from services.base_service import reading
from services.findings import Finding

bp = Blueprint("doctor_commands", __name__, cli_group=None)

SIGNS = {"pass": "ok", "warn": "look", "fail": "BAD"}


@bp.cli.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
def doctor(*, as_json: bool) -> None:
    """Look at settings, database, mail and the rest; say how to mend what is wrong. Exits with 1 when something is."""
    findings = _findings()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        for finding in findings:
            click.echo(f"{SIGNS[finding.status]:<5} {finding.name}: {finding.detail}")
            if finding.remedy:
                click.echo(f"      -> {finding.remedy}")
    if any(finding.status == "fail" for finding in findings):
        raise SystemExit(1)


def _findings() -> list[Finding]:
    known = current_app.extensions
    if "settings" not in known:  # they are wrong, and there is nothing else to look at
        _, faults = known["environments"][known["environment"]].draft()
        return doctor_service.of_faults(faults)
    with reading():
        return doctor_service.examine()
