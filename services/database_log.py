"""Whether logs would tell of addresses and hashes: PostgreSQL's own, and its errors in ours (ASVS 16.2.5).

The driver writes values into the statements, so whatever logs a statement logs its values; and an error's DETAIL holds
the row that was in the way.
"""

from collections.abc import Iterator

import psycopg2
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models import db
from services.findings import Finding

#: The values of each setting with which nothing of a row is logged; those of modules that are not loaded are not there.
QUIET = {
    "log_error_verbosity": {"terse"},
    "log_min_error_statement": {"log", "fatal", "panic"},
    "log_parameter_max_length_on_error": {"0"},
    "log_statement": {"none", "ddl"},
    "log_min_duration_statement": {"-1"},
    "log_min_duration_sample": {"-1"},
    "log_transaction_sample_rate": {"0"},
    "auto_explain.log_min_duration": {"-1"},
}
REMEDY = (
    "Run deploy/postgres/roles.sql as a superuser, or set the server's own parameters (docs/deployment.md, The"
    " server's own log)."
)


def leave_out_rows(error: BaseException | None) -> None:
    """Leave of a database's error, and of those that it caused, the first line of what it says.

    Below it stand the row that was in the way (DETAIL), what was being done (CONTEXT), and the statement.
    """
    while error is not None:
        if isinstance(error, psycopg2.Error | SQLAlchemyError) and error.args:
            error.args = (str(error.args[0]).partition("\n")[0], *error.args[1:])
        error = error.__cause__ or error.__context__


def check() -> Iterator[Finding]:
    """The doctor's look: the settings as they are for the app's own connections."""
    loud = _loud()
    if loud:
        yield Finding("database log", "warn", f"would show values of rows: {', '.join(loud)}", REMEDY)
    else:
        yield Finding("database log", "pass", "shows no values of rows")


def _loud() -> list[str]:
    rows = db.session.execute(
        text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names) ORDER BY name"),
        {"names": list(QUIET)},
    ).all()
    return [f"{row.name}={row.setting}" for row in rows if row.setting not in QUIET[row.name]]
