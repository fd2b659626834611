"""Let administrators write roles.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "UPDATE roles SET permissions = permissions || '{roles:write}'"
        " WHERE name = 'admin' AND NOT permissions @> '{roles:write}'"
    )


def downgrade() -> None:
    op.execute("UPDATE roles SET permissions = array_remove(permissions, 'roles:write')")
