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


def upgrade() -> None:
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
    # Accounts are read through once, a million in about a second; who wants to write one waits for that.
    op.create_index(
        "uq_users_picture",
        "users",
        ["picture"],
        unique=True,
        postgresql_where=sa.text("picture IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("uq_users_picture", table_name="users")
    op.drop_table("picture_removals")
