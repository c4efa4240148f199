"""Create the table of completed hours."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create hours."""
    op.create_table(
        "hours",
        sa.Column("network", sa.LargeBinary(32), nullable=False),
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("row", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("network", "hour", name="pk_hours"),
    )


def downgrade() -> None:
    """Drop what the upgrade made."""
    op.drop_table("hours")
