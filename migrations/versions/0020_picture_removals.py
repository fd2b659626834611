"""Remember the pictures whose files have to go, and find accounts by their picture.

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# The linter takes all of a migration for one transaction.
OUTSIDE = "-- squawk-ignore ban-concurrent-index-creation-in-transaction, prefer-robust-stmts\n"


def upgrade() -> None:
    # First, and beside whoever writes: what is done here stays, and can be done again where the rest fails.
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS uq_users_picture")
        op.execute(
            f"{OUTSIDE}CREATE UNIQUE INDEX CONCURRENTLY uq_users_picture ON users (picture) WHERE picture IS NOT NULL"
        )
    op.create_table(
        "picture_removals",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "available_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_picture_removals")),
    )
    op.create_index("ix_picture_removals_available_at", "picture_removals", ["available_at"], unique=False)


def downgrade() -> None:
    op.drop_index("uq_users_picture", table_name="users")
    op.drop_table("picture_removals")
