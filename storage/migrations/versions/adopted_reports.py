"""Create the tables of reports that a quorum certified and this node did not compute, and of evidence."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create adopted_reports and evidence."""
    op.create_table(
        "adopted_reports",
        sa.Column("config_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("round", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("report_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("config_digest", "round", "report_hash", name="pk_adopted_reports"),
    )
    op.create_table(
        "evidence",
        sa.Column("config_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("round", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("sender", sa.String(128), nullable=False),
        sa.Column("first", sa.LargeBinary(), nullable=False),
        sa.Column("second", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("config_digest", "round", "kind", "sender", name="pk_evidence"),
    )


def downgrade() -> None:
    """Drop what the upgrade made."""
    op.drop_table("evidence")
    op.drop_table("adopted_reports")
