"""Find mails by their address.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Mails go after 30 days: reading them takes moments, and what wants to write one waits for these.
    op.create_index("ix_outbox_to_address", "outbox", [sa.literal_column("lower(to_address)")], unique=False)


def downgrade() -> None:
    op.drop_index("ix_outbox_to_address", "outbox")
