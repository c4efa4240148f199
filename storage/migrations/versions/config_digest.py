"""Call the config digest by its name in every table."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = ("reports", "leaves", "hours", "transactions")
OLD_INDEX = "ix_transactions_network_chain_id_round"
NEW_INDEX = "ix_transactions_config_digest_chain_id_round"


def upgrade() -> None:
    """Rename the columns; keys follow them, the index is made anew for its name."""
    op.drop_index(OLD_INDEX, "transactions")
    _rename_messages("network", "config_digest")
    for table in TABLES:
        op.alter_column(table, "network", new_column_name="config_digest")
    op.create_index(NEW_INDEX, "transactions", ["config_digest", "chain_id", "round"])


def downgrade() -> None:
    """Give the columns their old name."""
    op.drop_index(NEW_INDEX, "transactions")
    _rename_messages("config_digest", "network")
    for table in TABLES:
        op.alter_column(table, "config_digest", new_column_name="network")
    op.create_index(OLD_INDEX, "transactions", ["network", "chain_id", "round"])


def _rename_messages(old: str, new: str) -> None:
    """Rename the column and the constraint that carries its name; SQLite makes the table anew for each step."""
    with op.batch_alter_table("messages") as messages:
        messages.drop_constraint(f"uq_messages_{old}_round_kind_sender", type_="unique")
    op.alter_column("messages", old, new_column_name=new)
    with op.batch_alter_table("messages") as messages:
        messages.create_unique_constraint(f"uq_messages_{new}_round_kind_sender", [new, "round", "kind", "sender"])
