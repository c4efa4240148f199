"""Create the tables of rounds and transactions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create messages, reports, leaves and transactions."""
    _create_messages()
    _create_reports_and_leaves()
    _create_transactions()


def downgrade() -> None:
    """Drop everything the upgrade made."""
    for table in ("transactions", "leaves", "reports", "messages"):
        op.drop_table(table)


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("network", sa.LargeBinary(32), nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("sender", sa.String(128), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_messages"),
        sa.UniqueConstraint("network", "round", "kind", "sender", name="uq_messages_network_round_kind_sender"),
    )


def _create_reports_and_leaves() -> None:
    op.create_table(
        "reports",
        sa.Column("network", sa.LargeBinary(32), nullable=False),
        sa.Column("round", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("report_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("network", "round", name="pk_reports"),
    )
    op.create_table(
        "leaves",
        sa.Column("network", sa.LargeBinary(32), nullable=False),
        sa.Column("round", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.LargeBinary(20), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.Column("assessment", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("network", "round", "subject", name="pk_leaves"),
        sa.ForeignKeyConstraint(
            ["network", "round"],
            ["reports.network", "reports.round"],
            name="fk_leaves_reports",
            ondelete="CASCADE",
        ),
    )


def _create_transactions() -> None:
    op.create_table(
        "transactions",
        sa.Column("network", sa.LargeBinary(32), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("sender", sa.LargeBinary(20), nullable=False),
        sa.Column("nonce", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("round", sa.BigInteger(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("replaced", sa.LargeBinary(), nullable=False),
        sa.Column("max_fee_per_gas", sa.String(78), nullable=False),
        sa.Column("max_priority_fee_per_gas", sa.String(78), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("gas_used", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("network", "chain_id", "sender", "nonce", name="pk_transactions"),
    )
    op.create_index("ix_transactions_network_chain_id_round", "transactions", ["network", "chain_id", "round"])
