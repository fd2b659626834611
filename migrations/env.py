"""How migrations run: one at a time (advisory lock), each in its own transaction, never waiting long for a lock."""

import re
import time
from pathlib import Path
from typing import Any

from alembic import context
from alembic.util import CommandError
from flask import current_app
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

LOCK_ID = 0x506F727469636F  # "Portico"
LOCK_TIMEOUT = "4s"
STATEMENT_TIMEOUT = "15min"
ASK_AGAIN_SECONDS = 0.5
INSUFFICIENT_PRIVILEGE = "42501"
target = current_app.extensions["migrate"].db.metadata
# Not the app's way into transactions: a migration may leave its own for a while (autocommit_block).
engine = (
    current_app.extensions["migrate"]
    .db.engines["reading"]
    .execution_options(isolation_level="READ COMMITTED")
)


def number_revision(context_: Any, revision: Any, directives: list[Any]) -> None:
    """Give the next number (0007) instead of a random id; make no file when nothing changed."""
    del context_, revision
    if not directives:
        return
    script = directives[0]
    if getattr(context.config.cmd_opts, "autogenerate", False) and script.upgrade_ops.is_empty():
        directives.clear()
        return
    numbers = [int(path.name[:4]) for path in Path(__file__).parent.glob("versions/[0-9]*.py")]
    script.rev_id = f"{max(numbers, default=0) + 1:04d}"


def run_offline() -> None:
    """Print the SQL instead of running it, for review and for the migration linter."""
    context.configure(
        url=re.sub("^postgresql\\+psycopg2", "postgresql", str(engine.url)),
        target_metadata=target,
        literal_binds=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        context.execute(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'")
        context.run_migrations()


def _take_turns(connection: Connection) -> None:
    """Wait for whoever migrates just now, asking now and then: an index that is built concurrently waits for every
    statement that began before it, and so would wait for one that waits for the lock.
    """
    while not connection.execute(text("SELECT pg_try_advisory_lock(:id)"), {"id": LOCK_ID}).scalar():
        connection.commit()
        time.sleep(ASK_AGAIN_SECONDS)
    connection.commit()


def run_online() -> None:
    """Run them, after everybody else who is just doing the same."""
    with engine.connect() as connection:
        # A request's patience is too short for this.
        connection.connection.dbapi_connection.patience_seconds = None
        connection.execute(text(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'"))
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        _take_turns(connection)
        try:
            context.configure(
                connection=connection,
                target_metadata=target,
                transaction_per_migration=True,
                process_revision_directives=number_revision,
                compare_type=True,
                compare_server_default=True,
            )
            with context.begin_transaction():
                context.run_migrations()
        except ProgrammingError as error:
            if getattr(error.orig, "pgcode", None) != INSUFFICIENT_PRIVILEGE:
                raise
            raise CommandError(
                f"This role may not change the schema ({error.orig.diag.message_primary}). Run it again with the"
                " DATABASE_URL of the role that owns the tables (docs/deployment.md, Two roles)."
            ) from error
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:id)"), {"id": LOCK_ID})
            connection.commit()
            connection.invalidate()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
