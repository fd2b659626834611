"""Add wrong passwords in a row.

Revision ID: 0014
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "password_tries",
        sa.Column("account", sa.LargeBinary(), nullable=False),
        sa.Column("device", sa.LargeBinary(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("waits_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_failed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "device", name=op.f("pk_password_tries")),
        prefixes=["UNLOGGED"],
    )
    op.create_index("ix_password_tries_last_failed_at", "password_tries", ["last_failed_at"], unique=False)


def downgrade() -> None:
    op.drop_table("password_tries")
