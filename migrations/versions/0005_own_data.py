"""Let people take their data along, and leave.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BEFORE = ("verify_email", "change_email", "reset_password", "invite", "setup_admin")
ADDED = ("restore_account", "download_export")


def upgrade() -> None:
    op.create_table(
        "data_exports",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("content_encrypted", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(status = 'ready') = (content_encrypted IS NOT NULL)",
            name=op.f("ck_data_exports_ready_has_content"),
        ),
        sa.CheckConstraint("status IN ('pending', 'ready', 'failed')", name=op.f("ck_data_exports_status")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_data_exports_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_exports")),
    )
    op.create_index("ix_data_exports_expires_at", "data_exports", ["expires_at"], unique=False)
    op.create_index(
        "ix_data_exports_pending",
        "data_exports",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index("uq_data_exports_user_id", "data_exports", ["user_id"], unique=True)
    op.add_column("users", sa.Column("deletes_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_users_deletes_at",
        "users",
        ["deletes_at"],
        unique=False,
        postgresql_where=sa.text("deletes_at IS NOT NULL"),
    )
    _allow((*BEFORE, *ADDED))


def downgrade() -> None:
    op.execute(f"DELETE FROM one_time_tokens WHERE purpose IN ({_list(ADDED)})")
    _allow(BEFORE)
    op.drop_index("ix_users_deletes_at", table_name="users")
    op.drop_column("users", "deletes_at")
    op.drop_table("data_exports")


def _allow(purposes: tuple[str, ...]) -> None:
    """Checked while the table is locked: it holds the links of some days, so that takes an instant."""
    op.execute(
        "-- squawk-ignore ban-drop-constraint\n"
        "ALTER TABLE one_time_tokens DROP CONSTRAINT ck_one_time_tokens_purpose"
    )
    op.execute(
        "-- squawk-ignore constraint-missing-not-valid\n"
        "ALTER TABLE one_time_tokens ADD CONSTRAINT ck_one_time_tokens_purpose"
        f" CHECK (purpose IN ({_list(purposes)}))"
    )


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in names)
