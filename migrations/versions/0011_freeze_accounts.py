"""Let people say "this was not me": links in security mails, and accounts that are frozen.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BEFORE = (
    "verify_email",
    "change_email",
    "reset_password",
    "invite",
    "setup_admin",
    "restore_account",
    "download_export",
)
ADDED = ("not_me",)


def upgrade() -> None:
    op.add_column("users", sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("one_time_tokens", sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True))
    _allow((*BEFORE, *ADDED))
    # Checked while the table is locked, as above.
    op.execute(
        "-- squawk-ignore constraint-missing-not-valid\n"
        "ALTER TABLE one_time_tokens ADD CONSTRAINT ck_one_time_tokens_claimed"
        " CHECK ((purpose = 'not_me') = (claimed_at IS NOT NULL))"
    )


def downgrade() -> None:
    op.execute(f"DELETE FROM one_time_tokens WHERE purpose IN ({_list(ADDED)})")
    op.drop_column("one_time_tokens", "claimed_at")
    _allow(BEFORE)
    op.drop_column("users", "frozen_at")


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
