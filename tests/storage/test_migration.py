"""A database of the tables before chunks: after the upgrade everything in it is served as before."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.config import Config

import storage.packing
from attest.encoding.merkle import verify_proof
from attest.formats.header import decode_header, encode_header
from attest.formats.leaf import decode_leaf, leaf_hash
from attest.reports.report import Report
from riskschema.rounds import StoredAccount, StoredHour, StoredMessage, StoredReport, StoredTransaction
from riskschema.units import Address, Hash32
from storage.migration import FOLDER
from storage.store import open_store
from tests.attest.reports.test_report import report as build_report

NETWORK = Hash32("0x" + "a1" * 32)
OTHER_NETWORK = Hash32("0x" + "b2" * 32)
SENDER = Address("0x" + "11" * 20)
ACCOUNTS = {1: 150, 2: 64, 3: 1, 4: 0}
"""Accounts of each round."""


@contextmanager
def plain(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def upgrade_to(path: Path, revision: str) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(FOLDER))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def stored(network: Hash32, round_number: int, made: Report) -> StoredReport:
    return StoredReport(
        config_digest=network,
        round=round_number,
        report_hash=Hash32(made.hash),
        header=encode_header(made.header),
        state=b"state %d" % round_number,
        certificate=b"certificate" if round_number <= 3 else None,
    )


def write_round(connection: sqlite3.Connection, report: StoredReport, accounts: tuple[StoredAccount, ...]) -> None:
    """Write a round as version 0003 did: a row per account, its proof's hashes one after the other."""
    network, number = report.config_digest.to_bytes(), report.round
    connection.execute(
        "INSERT INTO reports (config_digest, round, report_hash, header, state, certificate) VALUES (?, ?, ?, ?, ?, ?)",
        (network, number, report.report_hash.to_bytes(), report.header, report.state, report.certificate),
    )
    connection.executemany(
        "INSERT INTO leaves (config_digest, round, subject, leaf, proof, assessment) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                network,
                number,
                each.subject.to_bytes(),
                each.leaf,
                b"".join(node.to_bytes() for node in each.proof),
                each.assessment,
            )
            for each in accounts
        ],
    )
    connection.execute(
        "INSERT INTO messages (config_digest, round, kind, sender, payload) VALUES (?, ?, 'share', '0', x'01')",
        (network, number),
    )


def without_portfolio(accounts: tuple[StoredAccount, ...]) -> tuple[StoredAccount, ...]:
    return tuple(
        StoredAccount(subject=each.subject, leaf=each.leaf, proof=each.proof, assessment=each.assessment)
        for each in sorted(accounts, key=lambda each: each.subject)
    )


Rounds = dict[tuple[Hash32, int], tuple[StoredReport, tuple[StoredAccount, ...]]]


@pytest.fixture
def old(tmp_path: Path) -> tuple[Path, Rounds]:
    """Return a database of version 0003 and what is in it."""
    path = tmp_path / "node.db"
    upgrade_to(path, "0003")
    rounds: Rounds = {}
    with plain(path) as connection:
        for network in (NETWORK, OTHER_NETWORK):
            for number, count in ACCOUNTS.items():
                made = build_report(range(1, count + 1))
                rounds[network, number] = stored(network, number, made), without_portfolio(made.accounts)
                write_round(connection, *rounds[network, number])
        connection.execute(
            "INSERT INTO hours (config_digest, hour, row) VALUES (?, 3600, x'0102')", (NETWORK.to_bytes(),)
        )
        connection.execute(
            "INSERT INTO transactions (config_digest, chain_id, sender, nonce, round, raw, hash, replaced,"
            " max_fee_per_gas, max_priority_fee_per_gas, status) VALUES (?, 1, ?, 5, 2, x'02',"
            " ?, x'', ?, ?, 'pending')",
            (NETWORK.to_bytes(), SENDER.to_bytes(), NETWORK.to_bytes(), "7".zfill(78), "1".zfill(78)),
        )
    return path, rounds


async def test_every_account_is_served_as_before(old: tuple[Path, Rounds]) -> None:
    path, rounds = old
    async with open_store(path) as store:
        for (network, number), (report, accounts) in rounds.items():
            assert await store.report(network, number) == report
            assert await store.accounts(network, number) == accounts
            for account in accounts[::10]:
                assert await store.account(network, number, account.subject) == account
            root = decode_header(report.header).accounts_root
            for account in accounts:
                proof = [node.to_bytes() for node in account.proof]
                assert verify_proof(leaf_hash(decode_leaf(account.leaf)), proof, root)


async def test_old_rounds_have_no_portfolios_and_no_market(old: tuple[Path, Rounds]) -> None:
    path, _ = old
    async with open_store(path) as store:
        assert {account.portfolio for account in await store.accounts(NETWORK, 1)} == {None}
        assert await store.market(NETWORK, 1) is None


async def test_all_else_is_kept(old: tuple[Path, Rounds]) -> None:
    path, rounds = old
    async with open_store(path) as store:
        assert await store.latest_certified(NETWORK) == rounds[NETWORK, 3][0]
        assert await store.messages(NETWORK, 1) == (StoredMessage(round=1, kind="share", sender="0", payload=b"\x01"),)
        assert await store.hours(NETWORK) == (StoredHour(hour=3600, row=b"\x01\x02"),)
        transaction = StoredTransaction(
            config_digest=NETWORK,
            chain_id=1,
            sender=SENDER,
            nonce=5,
            round=2,
            raw=b"\x02",
            hash=NETWORK,
            max_fee_per_gas=7,
            max_priority_fee_per_gas=1,
            status="pending",
            block_number=None,
            gas_used=None,
        )
        assert await store.pending_transactions(NETWORK, 1, SENDER) == (transaction,)
    with plain(path) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'leaves'").fetchall() == []


async def test_migrated_rounds_are_pruned_with_all_their_accounts(old: tuple[Path, Rounds]) -> None:
    path, _ = old
    async with open_store(path) as store:
        assert await store.prune(NETWORK, below_round=100) == 3
        assert [await store.report(NETWORK, number) is None for number in ACCOUNTS] == [True, True, False, True]
    with plain(path) as connection:
        for table in ("account_chunks", "proof_nodes"):
            kept = connection.execute(f"SELECT DISTINCT config_digest, round FROM {table}").fetchall()
            assert {number for network, number in kept if network == NETWORK.to_bytes()} == {3}


async def test_an_upgrade_that_breaks_off_changes_nothing_and_is_done_at_the_next_start(
    old: tuple[Path, Rounds], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rounds = old
    pack = storage.packing.pack_accounts
    packed: list[object] = []

    def interrupted(rows: list[storage.packing.AccountRow]) -> object:
        if packed:
            raise KeyboardInterrupt
        packed.append(rows)
        return pack(rows)

    monkeypatch.setattr(storage.packing, "pack_accounts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        async with open_store(path):
            pass
    monkeypatch.undo()
    with plain(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0003",)]
        count = connection.execute("SELECT count(*) FROM leaves").fetchall()
    assert count == [(2 * sum(ACCOUNTS.values()),)]
    async with open_store(path) as store:
        assert await store.accounts(NETWORK, 1) == rounds[NETWORK, 1][1]


async def test_databases_that_are_opened_at_once_each_get_their_own_tables(tmp_path: Path) -> None:
    async def open_once(path: Path) -> list[tuple[str, str]]:
        async with open_store(path):
            pass
        with plain(path) as database:
            return database.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()

    alone = await open_once(tmp_path / "alone.sqlite")
    found = await asyncio.gather(*(open_once(tmp_path / f"{number}.sqlite") for number in range(4)))
    assert found == [alone] * 4
    with plain(tmp_path / "0.sqlite") as database:
        assert database.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
