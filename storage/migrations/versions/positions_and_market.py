"""Keep what was read of each account, and the agreed market of each round."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004a"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; rounds kept before have neither."""
    op.add_column("leaves", sa.Column("portfolio", sa.LargeBinary(), nullable=True))
    op.add_column("reports", sa.Column("market", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("reports", "market")
    op.drop_column("leaves", "portfolio")
