"""Pack the accounts of every round into chunks (docs/decisions/0070); new rounds add portfolios and the agreed market.

It imports the packing it was written with: a change of that format is a new module beside it, and a new migration.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from alembic import op

from storage.packing import AccountRow, chunk_subjects, pack_accounts

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SECONDS_BETWEEN_LINES = 10.0
ROUNDS = sa.text("SELECT config_digest, round FROM reports ORDER BY config_digest, round")
LEAVES = sa.text(
    "SELECT subject, leaf, proof, assessment FROM leaves WHERE config_digest = :config_digest AND round = :round"
)

_log = structlog.get_logger("storage.migration")


def upgrade() -> None:
    """Create the tables and pack every round kept so far, one at a time; those have neither portfolios nor market."""
    op.add_column("reports", sa.Column("market", sa.LargeBinary(), nullable=True))
    chunks, nodes = _create_chunks(), _create_nodes()
    connection = op.get_bind()
    rounds = connection.execute(ROUNDS).all()
    told = time.monotonic()
    for number, (config_digest, round_number) in enumerate(rounds):
        if time.monotonic() - told > SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            _log.info("packing the database", rounds=number, of=len(rounds))
        _pack(connection, {"config_digest": config_digest, "round": round_number}, chunks, nodes)
    op.drop_table("leaves")


def downgrade() -> None:
    """Refuse: portfolios and market would be lost."""
    raise NotImplementedError("restore the backup made before the upgrade (docs/operating.md)")


def _pack(connection: sa.Connection, of_round: dict[str, Any], chunks: sa.Table, nodes: sa.Table) -> None:
    accounts = [
        AccountRow(
            subject=bytes(row.subject),
            leaf=bytes(row.leaf),
            proof=bytes(row.proof),
            assessment=bytes(row.assessment),
            portfolio=None,
        )
        for row in connection.execute(LEAVES, of_round)
    ]
    if not accounts:
        return
    packed, proof_nodes = pack_accounts(accounts)
    values = [
        {**of_round, "first_subject": chunk_subjects(chunk.subjects)[0], **msgspec.structs.asdict(chunk)}
        for chunk in packed
    ]
    connection.execute(sa.insert(chunks), values)
    connection.execute(sa.insert(nodes), {**of_round, "nodes": proof_nodes})


def _create_chunks() -> sa.Table:
    return op.create_table(
        "account_chunks",
        sa.Column("config_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("round", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_subject", sa.LargeBinary(20), nullable=False),
        sa.Column("subjects", sa.LargeBinary(), nullable=False),
        sa.Column("proofs", sa.LargeBinary(), nullable=False),
        sa.Column("leaves", sa.LargeBinary(), nullable=False),
        sa.Column("assessments", sa.LargeBinary(), nullable=False),
        sa.Column("portfolios", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("config_digest", "round", "first_subject", name="pk_account_chunks"),
        _of_report("account_chunks"),
    )


def _create_nodes() -> sa.Table:
    return op.create_table(
        "proof_nodes",
        sa.Column("config_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("round", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("nodes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("config_digest", "round", name="pk_proof_nodes"),
        _of_report("proof_nodes"),
    )


def _of_report(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["config_digest", "round"],
        ["reports.config_digest", "reports.round"],
        name=f"fk_{table}_reports",
        ondelete="CASCADE",
    )
