"""What every command shares: refusals told in one sentence, JSON for programs, tables for people."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import click
from pydantic import BaseModel, ValidationError

from blueprints.http.validation import faults
from services import health_service
from services.errors import DomainError

P = ParamSpec("P")
R = TypeVar("R")
Schema = TypeVar("Schema", bound=BaseModel)

json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")


def refusals_told(command: Callable[P, R]) -> Callable[P, R]:
    """Tell on standard error what a service refuses, or that the database can't be used; exit with 1, no traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (click.ClickException, click.Abort):
            raise
        except DomainError as error:
            raise click.ClickException(sentence(error)) from error
        except Exception as error:
            if reason := _why_nothing_works():
                raise click.ClickException(reason) from error
            raise

    return run


def _why_nothing_works() -> str | None:
    """The database that is away, or has other tables; None when it is well and something else went wrong."""
    bad = [check for check in health_service.ready()[1] if check["status"] == "fail"]
    if not bad:
        return None
    told = "; ".join(f"{check['name']}: {check['detail']}" for check in bad)
    return f"Not ready ({told}). flask doctor tells more."


def sentence(error: DomainError) -> str:
    """The error as a person reads it; each fault of a field on a line of its own."""
    found = error.details.get("errors")
    if not found:
        return error.message
    return "\n".join(f"{fault['field']}: {fault['error']}." for fault in found)


def read(schema: type[Schema], **values: Any) -> Schema:
    """The values as a schema; None is not given. Raises Invalid."""
    try:
        return schema.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        raise faults(error) from None


def write_json(value: BaseModel | Sequence[BaseModel], **more: Any) -> None:
    """Write a schema, or several as an array, as indented JSON; `more` adds fields to a single one."""
    told: Any
    if isinstance(value, BaseModel):
        told = value.model_dump(mode="json") | more
    else:
        told = [row.model_dump(mode="json") for row in value]
    click.echo(json.dumps(told, indent=2, ensure_ascii=False))


def write_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write rows in columns as wide as their longest cell."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def moment(value: datetime | None) -> str:
    """A time in UTC to the minute; "never" for none."""
    return f"{value:%Y-%m-%d %H:%M}" if value else "never"
