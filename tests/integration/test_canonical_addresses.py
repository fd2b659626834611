"""Migration 0017: what is stored comes to one spelling; two accounts never become one; the release before goes on."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from flask_migrate import downgrade, upgrade
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from models import db
from services.schemas.addresses import canonical
from tests.processes import held

ROOT = Path(__file__).resolve().parents[2]
MIGRATIONS = str(ROOT / "migrations")
MIGRATION = ScriptDirectory(MIGRATIONS).get_revision("0017")
DOTTED = "\u0130"

pytestmark = pytest.mark.real_database


@pytest.fixture
def before(app: Flask) -> Iterator[Flask]:
    """The database as the release before left it."""
    with app.app_context():
        db.session.remove()
        downgrade(directory=MIGRATIONS, revision=str(MIGRATION.down_revision))
        yield app


def add(*emails: str) -> None:
    for email in emails:
        run("INSERT INTO users (email, name) VALUES (:email, 'Somebody')", email=email)


def run(statement: str, **values: Any) -> None:
    db.session.execute(text(statement), values)
    db.session.commit()


def column(statement: str) -> list[Any]:
    found = list(db.session.execute(text(statement)).scalars())
    db.session.rollback()
    return found


def emails() -> list[str]:
    return column("SELECT email FROM users ORDER BY id")


def migrate() -> None:
    upgrade(directory=MIGRATIONS, revision="0017")


def test_what_is_stored_comes_to_one_spelling(before: Flask) -> None:
    add(
        "Ada.Okonkwo@example.com",
        "bob@example.com",
        "J\u00d6RG@b\u00fccher.example",
        "eve@XN--BCHER-KVA.example",
    )
    add(
        f"m{DOTTED}ke@example.com",
        "ann@example.com",
        "not an address",
        "Root@localhost",
        "E\u0301ve@example.com",
    )
    run(
        "INSERT INTO one_time_tokens (purpose, user_id, email, token_hash, expires_at)"
        " SELECT 'reset_password', id, email, 'x', now() + interval '1 hour' FROM users WHERE email LIKE 'Ada%'"
    )
    run(
        "INSERT INTO outbox (kind, to_address, subject, payload_encrypted, message_id)"
        " VALUES ('suspended', 'Ada.Okonkwo@example.com', 'x', 'x', 'x')"
    )
    run("INSERT INTO one_time_tokens (purpose, token_hash, expires_at) VALUES ('setup_admin', 'y', now())")
    migrate()
    assert emails() == [
        "ada.okonkwo@example.com",
        "bob@example.com",
        "j\u00d6rg@b\u00fccher.example",
        "eve@b\u00fccher.example",
        f"m{DOTTED}ke@example.com",
        "ann@example.com",
        "not an address",
        "root@localhost",
        "\u00c9ve@example.com",
    ]
    assert column("SELECT email FROM one_time_tokens ORDER BY id") == ["ada.okonkwo@example.com", None]
    assert column("SELECT to_address FROM outbox") == ["ada.okonkwo@example.com"]


def test_more_accounts_than_a_batch_are_spelled(before: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MIGRATION.module, "BATCH", 3)
    add(*(f"Person{number}@example.com" for number in range(10)))
    migrate()
    assert emails() == [f"person{number}@example.com" for number in range(10)]


def test_two_spellings_of_one_address_stop_it_before_anything_changes(
    before: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    add(
        "Ada@example.com",
        "j@b\u00fccher.example",
        "j@xn--bcher-kva.example",
        "e\u0301@example.com",
        "\u00e9@example.com",
    )
    stored = emails()
    with caplog.at_level(logging.ERROR), pytest.raises(SystemExit):
        migrate()
    assert "Nothing was changed" in caplog.text
    assert "2 (j@b\u00fccher.example), 3 (j@xn--bcher-kva.example)" in caplog.text
    assert "4 (e\u0301@example.com), 5 (\u00e9@example.com)" in caplog.text
    assert "Ada" not in caplog.text
    assert emails() == stored
    assert column("SELECT version_num FROM alembic_version") == [MIGRATION.down_revision]
    assert column("SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%spell_address'") == [0]
    run("DELETE FROM users WHERE id IN (3, 4)")
    migrate()
    assert emails() == ["ada@example.com", "j@b\u00fccher.example", "\u00e9@example.com"]


def test_lookalikes_are_two_accounts_afterwards(before: Flask) -> None:
    add("mike@example.com")
    migrate()
    add(f"m{DOTTED}ke@example.com")
    with pytest.raises(IntegrityError, match="uq_users_email"):
        add("mike@example.com")
    db.session.rollback()


def test_the_release_before_may_go_on_writing_as_typed(before: Flask) -> None:
    migrate()
    add("Late@example.com")
    assert emails() == ["late@example.com"]
    with pytest.raises(IntegrityError, match="uq_users_email"):
        add("LATE@example.com")
    db.session.rollback()
    run("UPDATE users SET email = 'Other@example.com'")
    assert emails() == ["other@example.com"]
    run("SET enable_seqscan = off")
    plan = "\n".join(column("EXPLAIN SELECT id FROM users WHERE lower(email) = lower('Other@example.com')"))
    assert "ix_users_email_lower" in plan


def test_an_interrupted_migration_can_be_run_again(before: Flask) -> None:
    add("Ada@example.com")
    run("CREATE UNIQUE INDEX uq_users_email_plain ON users (name)")  # as if left by an interrupted build
    run("CREATE INDEX ix_users_email_lower ON users (name)")
    migrate()
    assert emails() == ["ada@example.com"]
    defined = column(
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'users' AND indexname LIKE '%email%' ORDER BY 1"
    )
    assert [line.partition("USING ")[2] for line in defined] == ["btree (lower(email))", "btree (email)"]


def test_going_back_stops_where_the_release_before_takes_two_for_one(
    before: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    migrate()
    add("\u00fcser@example.com", "\u00dcser@example.com")
    with caplog.at_level(logging.ERROR), pytest.raises(SystemExit):
        downgrade(directory=MIGRATIONS, revision=str(MIGRATION.down_revision))
    assert "1 (\u00fcser@example.com), 2 (\u00dcser@example.com)" in caplog.text
    run("DELETE FROM users WHERE id = 2")
    downgrade(directory=MIGRATIONS, revision=str(MIGRATION.down_revision))
    with pytest.raises(IntegrityError, match="uq_users_email"):
        add("\u00dcSER@example.com")
    db.session.rollback()


def test_two_who_migrate_at_once_do_not_wait_for_each_other(before: Flask) -> None:
    add("Ada@example.com")
    db.session.remove()
    environment = {
        "FLASK_CONFIG": "testing",
        "DATABASE_URL": before.config["SQLALCHEMY_DATABASE_URI"],
        "PATH": os.defpath,
    }
    command = [sys.executable, "-m", "flask", "db", "upgrade"]
    both = [
        held(
            subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=150)[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert emails() == ["ada@example.com"]


@given(
    local=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
    domain=st.sampled_from(
        ["Example.com", "B\u00dcCHER.example", "XN--BCHER-KVA.example", "\uff45x.com", "fa\u00df.de"]
    ),
)
def test_the_migration_spells_as_the_application_does(local: str, domain: str) -> None:
    try:
        spelled = canonical(f"{local}@{domain}")
    except ValueError:
        return
    assert MIGRATION.module.canonical(f"{local}@{domain}".strip()) == spelled
    assert canonical(spelled) == spelled
