"""Note when something of a pair of tokens is first presented.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Neither rewrites its table. The code now live leaves both at 0, which stands for "presented": its exchanges are
    # given again for 30 seconds and no longer.
    op.add_column(
        "sessions",
        sa.Column("presented_generation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column(
        "refresh_tokens",
        sa.Column("generation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )


def downgrade() -> None:
    op.drop_column("refresh_tokens", "generation")
    op.drop_column("sessions", "presented_generation")
