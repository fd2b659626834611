"""Let administrators write roles.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "UPDATE roles SET permissions = permissions || '{roles:write}'"
        " WHERE name = 'admin' AND NOT permissions @> '{roles:write}'"
    )


def downgrade() -> None:
    op.execute("UPDATE roles SET permissions = array_remove(permissions, 'roles:write')")
