"""Every table that points at people says what becomes of it, and the database does as it says."""

from collections.abc import Iterable

import pytest
from sqlalchemy import BigInteger, Column, ForeignKey, MetaData, Table

from models import db
from services.own_data import POLICIES, Erasure, Policy

#: How columns that name a person are called, with a foreign key or without.
NAMES_A_PERSON = ("user_id", "actor_id", "target_id", "owner_id", "created_by", "updated_by")
TABLES = {table.name: table for table in db.metadata.sorted_tables}


def points_at_people(tables: Iterable[Table]) -> dict[str, set[str]]:
    """Table → its columns that lead to a person, directly or by way of another table that does."""
    listed = list(tables)
    found: dict[str, set[str]] = {"users": {"id"}}
    grown = True
    while grown:
        before = {name: set(columns) for name, columns in found.items()}
        for table in listed:
            for column in table.columns:
                leads = any(key.column.table.name in found for key in column.foreign_keys)
                named = column.name in NAMES_A_PERSON or column.name.endswith("_user_id")
                if leads or named:
                    found.setdefault(table.name, set()).add(column.name)
        grown = found != before
    return found


@pytest.mark.parametrize("name", sorted(points_at_people(TABLES.values())))
def test_table_that_points_at_people_has_a_policy(name: str) -> None:
    assert name in POLICIES, (
        f"{name} points at people: say in services/own_data.py what is exported and what becomes of it"
    )
    assert points_at_people(TABLES.values())[name] <= {*POLICIES[name].owner, *POLICIES[name].exported}


def test_a_new_table_would_be_noticed() -> None:
    metadata = MetaData()
    Table("users", metadata, Column("id", BigInteger, primary_key=True))
    Table("notes", metadata, Column("id", BigInteger, primary_key=True), Column("by", ForeignKey("users.id")))
    Table("pages", metadata, Column("note", ForeignKey("notes.id")))
    Table("visits", metadata, Column("visitor_user_id", BigInteger))
    Table("roles", metadata, Column("name", BigInteger))
    assert set(points_at_people(metadata.sorted_tables)) == {"users", "notes", "pages", "visits"}


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_column_is_exported_or_withheld(name: str) -> None:
    policy, columns = POLICIES[name], {column.name for column in TABLES[name].columns}
    if not policy.exported:
        assert policy.reason, "a table without a copy says why"
        return
    computed = {"by_you", "about_you"}
    told = {*policy.exported, *policy.withheld, *policy.owner}
    assert columns <= told, f"{name}: exported or withheld? {sorted(columns - told)}"
    assert told - computed <= columns
    assert not set(policy.exported) & set(policy.withheld)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_no_secret_is_exported(name: str) -> None:
    for column in POLICIES[name].exported:
        assert not any(word in column for word in ("hash", "encrypted", "seed", "secret", "token"))


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_database_erases_as_the_policy_says(name: str) -> None:
    policy = POLICIES[name]
    keys = [key for column in TABLES[name].columns for key in column.foreign_keys]
    leading = [key for key in keys if key.column.table.name in POLICIES]
    wanted = {Erasure.ERASE: "CASCADE", Erasure.ANONYMISE: "SET NULL"}.get(policy.erasure)
    assert all(key.ondelete == wanted for key in leading), name
    if policy.erasure is Erasure.KEEP:
        assert policy.reason
        assert not leading, "what is kept must not hold the account"


def test_policies_name_tables_there_are() -> None:
    assert set(POLICIES) <= set(TABLES)
    assert all(isinstance(policy, Policy) for policy in POLICIES.values())
