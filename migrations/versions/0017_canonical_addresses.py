"""Bring every address to one spelling, and let it be unique as it is.

Revision ID: 0017
Revises: 0016

May stop before it has changed anything (docs/deployment.md, One spelling for each address). Whatever else stops it, it
can be run again: each step finds what is left to do.
"""

import unicodedata

import idna
import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

BATCH = 5_000
TOLD = 50
#: Small letters for A to Z alone, and only there.
SMALL = 'lower({column} COLLATE "C")'
_SMALL = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
# The release before goes on writing addresses as typed while this one starts, and after going back to it.
SPELL = """
CREATE OR REPLACE FUNCTION spell_address() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.email := lower(NEW.email COLLATE "C");
    RETURN NEW;
END
$$
"""
# The linter takes all of a migration for one transaction.
OUTSIDE = "-- squawk-ignore ban-concurrent-index-creation-in-transaction\n"
SPELLED = ("users", "one_time_tokens")
#: Those for which small letters do not do.
ODD = "unnest(CAST(:addresses AS text[]), CAST(:spellings AS text[])) AS odd(address, spelling)"


def upgrade() -> None:
    if _is_live():
        _stop_at(_doubles(_spelling("email"), _odd("users", "email")), "are two spellings of one")
    op.execute(SPELL)
    for table in SPELLED:
        op.execute(
            f"CREATE OR REPLACE TRIGGER {table}_spell_address BEFORE INSERT OR UPDATE OF email ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION spell_address()"
        )
    with op.get_context().autocommit_block():
        if _is_live():
            _spell_users()
            _spell("one_time_tokens", "email")
            _spell("outbox", "to_address")
        _build("INDEX", "ix_users_email_lower", "users (lower(email))")
        _build("UNIQUE INDEX", "uq_users_email_plain", "users (email)")
        _build("INDEX", "ix_outbox_to_address_plain", "outbox (to_address)")
    _replace("uq_users_email", by="uq_users_email_plain")
    _replace("ix_outbox_to_address", by="ix_outbox_to_address_plain")


def downgrade() -> None:
    if _is_live():
        _stop_at(_doubles("lower(email)", {}), "are one to the release before")
    with op.get_context().autocommit_block():
        _build("UNIQUE INDEX", "uq_users_email_lower", "users (lower(email))")
        _build("INDEX", "ix_outbox_to_address_lower", "outbox (lower(to_address))")
    _replace("uq_users_email", by="uq_users_email_lower")
    _replace("ix_outbox_to_address", by="ix_outbox_to_address_lower")
    op.execute("-- squawk-ignore require-concurrent-index-deletion\nDROP INDEX ix_users_email_lower")
    for table in SPELLED:
        op.execute(f"DROP TRIGGER {table}_spell_address ON {table}")
    op.execute("DROP FUNCTION spell_address()")


def canonical(address: str) -> str:
    """The address as the application spells it; a domain that is none keeps its letters."""
    local, _, domain = unicodedata.normalize("NFC", address).rpartition("@")
    try:
        domain = idna.decode(idna.encode(domain, uts46=True, transitional=False))
    except (idna.IDNAError, UnicodeError):
        domain = domain.translate(_SMALL)
    return f"{local.translate(_SMALL)}@{domain}" if local else domain


def _is_live() -> bool:
    """Whether there is a database to look into; otherwise the statements are only printed."""
    return not op.get_context().as_sql


def _stop_at(doubles: list[sa.Row], are: str) -> None:
    """Two accounts are never made one here: which of them stays is for people to decide."""
    if not doubles:
        return
    found = "\n".join(
        "  " + ", ".join(f"{user_id} ({email})" for user_id, email in zip(row.ids, row.emails, strict=True))
        for row in doubles[:TOLD]
    )
    more = "\n  and more" if len(doubles) > TOLD else ""
    raise CommandError(
        f"Nothing was changed: these addresses {are}. With the release that runs now, delete an account of each line or"
        " give it another address, and migrate again (docs/deployment.md, One spelling for each address)."
        f" Ids and addresses:\n{found}{more}"
    )


def _doubles(spelling: str, odd: dict[str, str]) -> list[sa.Row]:
    statement = (
        "SELECT array_agg(users.id ORDER BY users.id) AS ids, array_agg(users.email ORDER BY users.id) AS emails"
        f" FROM users LEFT JOIN {ODD} ON odd.address = users.email"
        f" GROUP BY {spelling} HAVING count(*) > 1 ORDER BY 1 LIMIT {TOLD + 1}"
    )
    return list(op.get_bind().execute(sa.text(statement), _values(odd)))


def _spell_users() -> None:
    """In batches that commit by themselves: nobody waits long for a row."""
    odd, last = _odd("users", "email"), 0
    while True:
        batch = sa.text(
            "SELECT max(id) FROM (SELECT id FROM users WHERE id > :last ORDER BY id LIMIT :batch) AS batch"
        )
        end = op.get_bind().execute(batch, {"last": last, "batch": BATCH}).scalar()
        if end is None:
            return
        op.get_bind().execute(
            sa.text(f"{_spelling_of('users', 'email')} AND users.id > :last AND users.id <= :end"),
            _values(odd) | {"last": last, "end": end},
        )
        last = end


def _spell(table: str, column: str) -> None:
    """All at once: these rows live for days."""
    op.get_bind().execute(sa.text(_spelling_of(table, column)), _values(_odd(table, column)))


def _values(odd: dict[str, str]) -> dict[str, list[str]]:
    return {"addresses": list(odd), "spellings": list(odd.values())}


def _spelling(column: str) -> str:
    return f"coalesce(odd.spelling, {SMALL.format(column=column)})"


def _spelling_of(table: str, column: str) -> str:
    """A statement that spells what is not spelled so; more conditions may follow."""
    return (
        f"UPDATE {table} SET {column} = spelled.spelling FROM"
        f" (SELECT {table}.id, {_spelling(column)} AS spelling FROM {table} LEFT JOIN {ODD} ON odd.address = {column})"
        f" AS spelled WHERE spelled.id = {table}.id AND spelled.spelling <> {table}.{column}"
    )


def _odd(table: str, column: str) -> dict[str, str]:
    """The few addresses for which small letters do not do, with their spelling: SQL knows nothing of UTS 46."""
    rows = op.get_bind().execute(
        sa.text(
            f"SELECT DISTINCT {column}, {SMALL.format(column=column)} FROM {table}"
            f" WHERE {column} ~ '[^ -~]' OR {column} ILIKE '%xn--%'"
        )
    )
    return {address: canonical(address) for address, small in rows if canonical(address) != small}


def _build(kind: str, name: str, of: str) -> None:
    """An index, while others write; what an interrupted build left is removed."""
    # To wait here holds nobody up.
    op.execute("SET lock_timeout = '10min'")
    op.execute(f"{OUTSIDE}DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.execute(f"{OUTSIDE}CREATE {kind} CONCURRENTLY IF NOT EXISTS {name} ON {of}")
    op.execute("SET lock_timeout = '4s'")


def _replace(name: str, *, by: str) -> None:
    """Let a new index take the place of the former, by whose name the models know it: both take an instant."""
    op.execute(f"-- squawk-ignore require-concurrent-index-deletion\nDROP INDEX {name}")
    op.execute(f"-- squawk-ignore renaming-object\nALTER INDEX {by} RENAME TO {name}")
