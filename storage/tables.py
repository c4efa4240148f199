"""The tables. Every row is scoped by the config digest, which contains the chain's genesis hash."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)

from storage.columns import AddressColumn, HashColumn, HashListColumn, Uint256Column

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
    }
)

MESSAGES = Table(
    "messages",
    METADATA,
    # SQLite numbers rows by itself only in a column of type INTEGER
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), autoincrement=True, nullable=False),
    Column("config_digest", HashColumn, nullable=False),
    Column("round", BigInteger, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("sender", String(128), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("config_digest", "round", "kind", "sender"),
)

REPORTS = Table(
    "reports",
    METADATA,
    Column("config_digest", HashColumn, nullable=False),
    Column("round", BigInteger, nullable=False, autoincrement=False),
    Column("report_hash", HashColumn, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("certificate", LargeBinary, nullable=True),
    Column("market", LargeBinary, nullable=True),
    Column("reading", LargeBinary, nullable=True),
    PrimaryKeyConstraint("config_digest", "round"),
)

# certified by a quorum, and not (or not the same) computed here: what the next report builds on, without accounts
ADOPTED_REPORTS = Table(
    "adopted_reports",
    METADATA,
    Column("config_digest", HashColumn, nullable=False),
    Column("round", BigInteger, nullable=False, autoincrement=False),
    Column("report_hash", HashColumn, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    PrimaryKeyConstraint("config_digest", "round", "report_hash"),
)

# two contradicting messages of one operator; never pruned with their round
EVIDENCE = Table(
    "evidence",
    METADATA,
    Column("config_digest", HashColumn, nullable=False),
    Column("round", BigInteger, nullable=False, autoincrement=False),
    Column("kind", String(64), nullable=False),
    Column("sender", String(128), nullable=False),
    Column("first", LargeBinary, nullable=False),
    Column("second", LargeBinary, nullable=False),
    PrimaryKeyConstraint("config_digest", "round", "kind", "sender"),
)

ACCOUNT_CHUNKS = Table(
    "account_chunks",
    METADATA,
    Column("config_digest", HashColumn, nullable=False),
    Column("round", BigInteger, nullable=False, autoincrement=False),
    # the lowest subject in it; the other columns are those of storage.packing.Chunk
    Column("first_subject", LargeBinary(20), nullable=False),
    Column("subjects", LargeBinary, nullable=False),
    Column("proofs", LargeBinary, nullable=False),
    Column("leaves", LargeBinary, nullable=False),
    Column("assessments", LargeBinary, nullable=False),
    Column("portfolios", LargeBinary, nullable=False),
    PrimaryKeyConstraint("config_digest", "round", "first_subject"),
    ForeignKeyConstraint(["config_digest", "round"], ["reports.config_digest", "reports.round"], ondelete="CASCADE"),
)

# apart from reports, which are read often: the nodes of 10,000 proofs are 640 kB
PROOF_NODES = Table(
    "proof_nodes",
    METADATA,
    Column("config_digest", HashColumn, nullable=False),
    Column("round", BigInteger, nullable=False, autoincrement=False),
    Column("nodes", LargeBinary, nullable=False),
    PrimaryKeyConstraint("config_digest", "round"),
    ForeignKeyConstraint(["config_digest", "round"], ["reports.config_digest", "reports.round"], ondelete="CASCADE"),
)

HOURS = Table(
    "hours",
    METADATA,
    Column("config_digest", HashColumn, nullable=False),
    Column("hour", BigInteger, nullable=False, autoincrement=False),
    Column("row", LargeBinary, nullable=False),
    PrimaryKeyConstraint("config_digest", "hour"),
)

TRANSACTIONS = Table(
    "transactions",
    METADATA,
    Column("config_digest", HashColumn, nullable=False),
    Column("chain_id", BigInteger, nullable=False, autoincrement=False),
    Column("sender", AddressColumn, nullable=False),
    Column("nonce", BigInteger, nullable=False, autoincrement=False),
    Column("round", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("hash", HashColumn, nullable=False),
    Column("replaced", HashListColumn, nullable=False),
    Column("max_fee_per_gas", Uint256Column, nullable=False),
    Column("max_priority_fee_per_gas", Uint256Column, nullable=False),
    Column("status", String(16), nullable=False),
    Column("block_number", BigInteger, nullable=True),
    Column("gas_used", BigInteger, nullable=True),
    PrimaryKeyConstraint("config_digest", "chain_id", "sender", "nonce"),
    Index(None, "config_digest", "chain_id", "round"),
)
