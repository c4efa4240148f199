"""Keep with each report what it leaves out and whose word it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; reports kept so far have nothing in it."""
    op.add_column("reports", sa.Column("reading", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("reports", "reading")
