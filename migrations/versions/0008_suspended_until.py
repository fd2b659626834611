"""Let a suspension end by itself.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("suspended_until", sa.DateTime(timezone=True), nullable=True))
    # Checked while the table is locked: the column is new and empty, so that takes an instant.
    op.execute(
        "-- squawk-ignore constraint-missing-not-valid\n"
        "ALTER TABLE users ADD CONSTRAINT ck_users_suspended_until_later CHECK"
        " (suspended_until IS NULL OR (suspended_at IS NOT NULL AND suspended_until > suspended_at))"
    )
    op.create_index(
        "ix_users_suspended_until",
        "users",
        ["suspended_until"],
        unique=False,
        postgresql_where=sa.text("suspended_until IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_users_suspended_until", table_name="users")
    op.drop_column("users", "suspended_until")
