"""Let administrators sign in as somebody else.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sessions", sa.Column("impersonator_id", sa.BigInteger(), nullable=True))
    op.add_column("sessions", sa.Column("impersonator_session_id", sa.Uuid(), nullable=True))
    # Both columns are empty, and sessions are few: each of these reads the table once.
    op.create_foreign_key(
        op.f("fk_sessions_impersonator_id"),
        "sessions",
        "users",
        ["impersonator_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_check_constraint(
        op.f("ck_sessions_impersonation"),
        "sessions",
        "(impersonator_id IS NULL) = (impersonator_session_id IS NULL)"
        " AND (impersonator_id IS NULL OR (kind = 'browser' AND impersonator_id <> user_id))",
    )
    op.create_index(
        "ix_sessions_impersonator_id",
        "sessions",
        ["impersonator_id"],
        unique=False,
        postgresql_where=sa.text("impersonator_id IS NOT NULL"),
    )
    op.create_index(
        "uq_sessions_impersonator_session_id",
        "sessions",
        ["impersonator_session_id"],
        unique=True,
        postgresql_where=sa.text("impersonator_session_id IS NOT NULL"),
    )
    op.execute(
        "UPDATE roles SET permissions = permissions || '{users:impersonate}'"
        " WHERE name = 'admin' AND NOT permissions @> '{users:impersonate}'"
    )


def downgrade() -> None:
    # The code before this one would take an administrator's session for the person's own.
    op.execute("DELETE FROM sessions WHERE impersonator_id IS NOT NULL")
    op.execute("UPDATE roles SET permissions = array_remove(permissions, 'users:impersonate')")
    op.drop_index("uq_sessions_impersonator_session_id", "sessions")
    op.drop_index("ix_sessions_impersonator_id", "sessions")
    op.drop_constraint(op.f("ck_sessions_impersonation"), "sessions")
    op.drop_constraint(op.f("fk_sessions_impersonator_id"), "sessions")
    op.drop_column("sessions", "impersonator_session_id")
    op.drop_column("sessions", "impersonator_id")
