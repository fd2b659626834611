"""Migrations: forward, back and forward again, equal to the models, safe for a database in use."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from flask_migrate import downgrade, upgrade
from sqlalchemy import text

from models import db
from services.permissions import BUILT_IN_ROLES

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = str(ROOT / "migrations")

pytestmark = pytest.mark.real_database


def tables() -> set[str]:
    rows = db.session.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
    return {row.tablename for row in rows}


def test_migrations_go_back_and_forth(app: Flask) -> None:
    with app.app_context():
        db.session.remove()
        downgrade(directory=MIGRATIONS, revision="base")
        assert tables() == {"alembic_version"}
        functions = db.session.execute(text("SELECT count(*) FROM pg_proc WHERE proname = 'refuse_change'"))
        assert functions.scalar() == 0
        db.session.remove()
        upgrade(directory=MIGRATIONS)
        assert tables() == {"alembic_version", *db.metadata.tables}


def test_migrations_equal_the_models(app: Flask) -> None:
    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, db.metadata) == []


def test_the_migration_writes_the_roles_the_code_knows(app: Flask) -> None:
    with app.app_context():
        rows = db.session.execute(text("SELECT name, description, permissions FROM roles WHERE is_built_in"))
        written = {row.name: (row.description, sorted(row.permissions)) for row in rows}
    assert written == {name: (told, sorted(codes)) for name, (told, codes) in BUILT_IN_ROLES.items()}


def test_every_column_has_a_portable_type(app: Flask) -> None:
    """Text without length limits, times with zone, bigint: what a live table never has to be rewritten for."""
    with app.app_context():
        rows = db.session.execute(
            text(
                "SELECT table_name, column_name, data_type FROM information_schema.columns"
                " WHERE table_schema = 'public' AND table_name <> 'alembic_version'"
            )
        ).all()
    odd = {"character varying", "timestamp without time zone", "integer", "smallint", "json"}
    assert not [row for row in rows if row.data_type in odd]


def test_the_migration_linter_has_nothing_to_say(app: Flask, tmp_path: Path) -> None:
    sql = tmp_path / "migrations.sql"
    with app.app_context():
        url = app.config["SQLALCHEMY_DATABASE_URI"]
    printed = subprocess.run(
        [sys.executable, "-m", "flask", "db", "upgrade", "--sql"],
        cwd=ROOT,
        env={"FLASK_CONFIG": "testing", "DATABASE_URL": url, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # Alembic's own table is what it is.
    # Each migration runs in a transaction of its own, as the linter is told.
    printed = re.sub(r"CREATE TABLE alembic_version \(.*?\);", "", printed, flags=re.DOTALL)
    sql.write_text(re.sub(r"^(BEGIN|COMMIT);$", "", printed, flags=re.MULTILINE))
    squawk = Path(sys.executable).with_name("squawk")
    result = subprocess.run(
        [squawk, "--assume-in-transaction", str(sql)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout


def test_audit_events_can_only_be_added(app: Flask) -> None:
    with app.app_context():
        for statement in (
            "UPDATE audit_events SET action = 'x'",
            "DELETE FROM audit_events",
            "TRUNCATE audit_events",
        ):
            with pytest.raises(Exception, match="append-only"):
                db.session.execute(text(statement))
            db.session.rollback()
