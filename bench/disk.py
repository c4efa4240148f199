"""Bytes on the disk per account and round, by part, and what writing, reading and migrating a round costs.

    python -m bench.disk [--accounts 10000] [--json FILE]    rounds of accounts with three positions, in a new database
    python -m bench.disk --database plimsoll.sqlite           a node's own database (it may be running)

Half the accounts have one silo of three positions, half a loan of two and a wallet. Everything is stored by
the program itself; quantities and subjects have random digits. Prints a table and, as the last line, JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from aggregator.assess import assess
from aggregator.parameters import load_parameters
from attest.encoding.merkle import build_tree, prove
from attest.formats.leaf import encode_leaf, leaf_hash
from attest.reports.leaves import account_leaf
from bench.assess import ASSETS, WEIGHTS, lending_silo, market, token
from riskschema.codec import encode_json
from riskschema.portfolio import BlockReference, NoLiquidation, Portfolio, Position, Silo
from riskschema.rounds import StoredAccount, StoredReport
from riskschema.units import Address, Amount, Hash32, Wad
from storage.migration import FOLDER
from storage.store import SqlStore, open_store

DIGEST = Hash32("0x" + "d1" * 32)
BLOCK = BlockReference(chain_id=1, number=20_000_000, hash=Hash32("0x" + "b1" * 32), timestamp=1_700_000_000)
PARTS = {
    "accounts: subjects": "SELECT sum(length(subjects)) FROM account_chunks",
    "accounts: leaves": "SELECT sum(length(leaves)) FROM account_chunks",
    "accounts: proofs": "SELECT sum(length(proofs)) FROM account_chunks",
    "accounts: nodes of the proofs": "SELECT sum(length(nodes)) FROM proof_nodes",
    "accounts: assessments": "SELECT sum(length(assessments)) FROM account_chunks",
    "accounts: portfolios": "SELECT sum(length(portfolios)) FROM account_chunks",
    "rounds: messages": "SELECT sum(length(payload)) FROM messages",
    "rounds: header, certificate": "SELECT sum(length(header) + coalesce(length(certificate), 0)) FROM reports",
    "rounds: state": "SELECT sum(length(state)) FROM reports",
    "rounds: market": "SELECT sum(length(market)) FROM reports",
    "rounds: transactions": "SELECT sum(length(raw)) FROM transactions",
    "hours": "SELECT sum(length(row)) FROM hours",
}
PER_ROUND = 200


def portfolio(number: int, random: np.random.Generator) -> Portfolio:
    """Three positions: a lending silo of three, or of two beside a wallet; health log-uniform from 1.02 to 3."""
    subject = Address("0x" + random.bytes(20).hex())
    backing = [int(asset) for asset in random.choice(6, size=1 + number % 2, replace=False)]
    sizes = [float(np.exp(random.uniform(np.log(1e3), np.log(1e6)))) for _ in backing]
    weighted = sum(size * float(WEIGHTS[ASSETS[asset][1]]) for asset, size in zip(backing, sizes, strict=True))
    owed = weighted / float(np.exp(random.uniform(np.log(1.02), np.log(3.0))))
    ledger = [*zip(backing, sizes, strict=True), (6 + number % 2, -owed)]
    silo = _of(subject, lending_silo(number, "aave_v3:1:main", ledger), random)
    if number % 2:
        return Portfolio(subject=subject, blocks=(BLOCK,), silos=(silo,))
    held = Position(instrument=token(int(random.integers(0, 8))), quantity=Amount(int(random.integers(10**6, 10**18))))
    wallet = Silo(
        id=f"wallet:1:main:{subject}",
        venue="wallet:1:main",
        chain_id=1,
        account=subject,
        health=None,
        rule=NoLiquidation(),
        positions=(held,),
    )
    return Portfolio(subject=subject, blocks=(BLOCK,), silos=(silo, wallet))


def _of(subject: Address, silo: Silo, random: np.random.Generator) -> Silo:
    """Give a silo its owner, and digits down to the base unit as on a chain."""
    positions = tuple(
        msgspec.structs.replace(each, quantity=Amount(int(each.quantity) * 1_000_003 // 1_000_000 or 1))
        for each in silo.positions
    )
    health = Wad(int(silo.health or 0) + int(random.integers(0, 10**9)))
    return msgspec.structs.replace(
        silo, id=f"{silo.venue}:{subject}", account=subject, health=health, positions=positions
    )


def stored_accounts(count: int, *, seed: int = 1) -> list[StoredAccount]:
    """Return the accounts of a round as the node stores them: assessed, hashed and proved."""
    random = np.random.default_rng(seed)
    portfolios = sorted((portfolio(number, random) for number in range(count)), key=lambda each: each.subject)
    assessments = assess(portfolios, market(), load_parameters()).assessments
    leaves = [
        account_leaf(DIGEST.to_bytes(), 1, read, assessed, 0b11)
        for read, assessed in zip(portfolios, assessments, strict=True)
    ]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    tree = build_tree(hashes)
    return [
        StoredAccount(
            subject=read.subject,
            leaf=encode_leaf(leaf),
            proof=tuple(Hash32(node) for node in prove(tree, hashed)),
            assessment=encode_json(assessed),
            portfolio=encode_json(read),
        )
        for read, assessed, leaf, hashed in zip(portfolios, assessments, leaves, hashes, strict=True)
    ]


def report(round_number: int) -> StoredReport:
    return StoredReport(
        config_digest=DIGEST,
        round=round_number,
        report_hash=DIGEST,
        header=bytes(544),
        state=bytes(1_000),
        certificate=None,
    )


async def bytes_per_account(accounts: Sequence[StoredAccount], folder: Path) -> float:
    """Return what a second round of these accounts adds to the pages in use, per account."""
    async with open_store(folder / "size.sqlite") as store:
        await store.put_report(report(1), accounts)
        first = await store.size()
        await store.put_report(report(2), accounts)
        return ((await store.size()).used - first.used) / len(accounts)


def parts_of(path: Path) -> tuple[dict[str, int], int, int]:
    """Return the bytes of each part of a database, its rounds, and the bytes of all pages in use."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        parts = {name: connection.execute(query).fetchone()[0] or 0 for name, query in PARTS.items()}
        (rounds,) = connection.execute("SELECT count(*) FROM reports").fetchone()
        page, pages, free = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
    finally:
        connection.close()
    used = (pages - free) * page
    return {**parts, "keys and slack of pages": used - sum(parts.values())}, rounds, used


async def seconds(work: Awaitable[object]) -> float:
    begin = time.perf_counter()
    await work
    return time.perf_counter() - begin


async def timings(path: Path, accounts: Sequence[StoredAccount]) -> dict[str, float]:
    """Measure one round after another on a database file."""
    picked = [accounts[index] for index in np.random.default_rng(3).integers(0, len(accounts), PER_ROUND)]
    async with open_store(path) as store:
        before = time.process_time()
        written = [await seconds(store.put_report(report(number), accounts)) for number in (1, 2, 3)]
        used = time.process_time() - before
    cold = []
    for account in picked[:20]:
        async with open_store(path) as store:
            await store.report(DIGEST, 1)  # the connection is there
            cold.append(await seconds(store.account(DIGEST, 1, account.subject)))
    async with open_store(path) as store:
        await store.account(DIGEST, 1, accounts[0].subject)
        warm = [await seconds(store.account(DIGEST, 1, account.subject)) for account in picked]
        pages = [await seconds(store.accounts(DIGEST, 1, after=each.subject, limit=100)) for each in picked[:50]]
        await _check(store, accounts)
        pruned = await seconds(store.prune(DIGEST, below_round=2))
    return {
        "write_a_round_s": statistics.median(written),
        "write_a_round_cpu_s": used / 3,
        "read_an_account_ms": statistics.median(warm) * 1000,
        "read_an_account_p99_ms": sorted(warm)[len(warm) * 99 // 100] * 1000,
        "read_an_account_of_a_round_not_read_before_ms": statistics.median(cold) * 1000,
        "read_a_page_of_100_ms": statistics.median(pages) * 1000,
        "delete_a_round_s": pruned,
    }


async def _check(store: SqlStore, accounts: Sequence[StoredAccount]) -> None:
    if await store.accounts(DIGEST, 1) != tuple(accounts):
        raise RuntimeError("the store gives back other accounts than it was given")


def migration(path: Path, accounts: Sequence[StoredAccount], rounds: int) -> dict[str, float]:
    """Measure the upgrade of a database with a row per account, as version 0003 of the tables had it."""
    _upgrade(path, "0003")
    connection = sqlite3.connect(path)
    with connection:
        for number in range(1, rounds + 1):
            connection.execute(
                "INSERT INTO reports (config_digest, round, report_hash, header, state) VALUES (?, ?, x'', x'', x'')",
                (DIGEST.to_bytes(), number),
            )
            connection.executemany(
                "INSERT INTO leaves (config_digest, round, subject, leaf, proof, assessment) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (
                        DIGEST.to_bytes(),
                        number,
                        each.subject.to_bytes(),
                        each.leaf,
                        b"".join(node.to_bytes() for node in each.proof),
                        each.assessment,
                    )
                    for each in accounts
                ],
            )
    connection.close()
    before = path.stat().st_size
    begin, cpu = time.perf_counter(), time.process_time()
    _upgrade(path, "0004")
    took, used = time.perf_counter() - begin, time.process_time() - cpu
    return {
        "old_bytes_per_account": before / rounds / len(accounts),
        "old_database_mb": before / 1e6,
        "migration_s_per_gb": took / (before / 1e9),
        "migration_cpu_s_per_gb": used / (before / 1e9),
        "used_after_migration_mb": parts_of(path)[2] / 1e6,
        "file_after_migration_mb": path.stat().st_size / 1e6,
    }


def _upgrade(path: Path, revision: str) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(FOLDER))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def print_parts(parts: dict[str, int], rounds: int, accounts: int, used: int) -> None:
    for name, size in (*parts.items(), ("all pages in use", used)):
        per_account = f"{size / rounds / accounts:12.1f}" if accounts and rounds else ""
        print(f"  {name:32} {size / max(rounds, 1):14,.0f} a round {per_account} per account")


def measure(accounts: int) -> dict[str, object]:
    made = stored_accounts(accounts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.sqlite"
        asyncio.run(_write(path, made))
        parts, rounds, used = parts_of(path)
        print_parts(parts, rounds, accounts, used)
        took = asyncio.run(timings(Path(folder) / "timed.sqlite", made))
        migrated = migration(Path(folder) / "old.sqlite", made, rounds=3)
    return {
        "accounts": accounts,
        "bytes_per_account": round(used / rounds / accounts, 1),
        **{name: round(value, 3) for name, value in (took | migrated).items()},
    }


async def _write(path: Path, accounts: Sequence[StoredAccount]) -> None:
    async with open_store(path) as store:
        for number in range(1, 5):
            await store.put_report(report(number), accounts, encode_json(market()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--database", type=Path, default=None)
    parser.add_argument("--json", type=Path, default=None)
    options = parser.parse_args()
    if options.database is not None:
        parts, rounds, used = parts_of(options.database)
        print_parts(parts, rounds, 0, used)
        results: dict[str, object] = {"rounds": rounds, "used": used, **parts}
    else:
        results = measure(options.accounts)
        for name, value in results.items():
            print(f"  {name.replace('_', ' '):48} {value!s:>12}")
    print(json.dumps(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
