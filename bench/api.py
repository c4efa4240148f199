"""Requests per second of the HTTP API: one server process, one client process, connections kept open.

    python bench/api.py [--accounts 1000] [--connections 32] [--seconds 5]

Accounts are asked for in turn, so the first pass makes each answer and all later ones come from the cache. Prints a
table and, as the last line, JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import time
from multiprocessing.connection import Connection

import coincurve

from attest.encoding.merkle import build_tree, prove
from attest.formats.certificate import assemble_certificate, encode_certificate
from attest.formats.committee import Committee, Operator, config_digest
from attest.formats.eip712 import Destination, address_of, sign_digest, signing_digest
from attest.formats.header import ReportHeader, encode_header, report_hash
from attest.formats.leaf import NO_DEBT, AccountLeaf, encode_leaf, leaf_hash, subject_of
from node.api.application import create_app, serve
from node.clock import SystemClock
from node.status import NodeStatus
from node.telemetry import HttpMetrics
from riskschema.assessment import Assessment, Contribution
from riskschema.codec import encode_json
from riskschema.rounds import StoredAccount, StoredReport
from riskschema.units import Address, Hash32, Probability, Usd
from storage.memory import MemoryStore

KEY = bytes(31) + b"\x01"
NO_HASH = bytes(32)


def account(number: int) -> Address:
    return Address(f"0x{number + 1:040x}")


def leaf_of(subject: Address) -> AccountLeaf:
    return AccountLeaf(
        subject=subject_of(subject),
        score=100,
        liquidation_probability_ppm=3000,
        insolvency_probability_ppm=0,
        expected_loss=0,
        equity=10**12,
        initial_margin=10**11,
        maintenance_margin=8 * 10**10,
        worst_grid_loss=10**11,
        min_health=NO_DEBT,
        venue_coverage=1,
        flags=0,
        positions_commitment=NO_HASH,
    )


def assessment_of(subject: Address) -> Assessment:
    parts = [Contribution(kind="stress", silo=f"aave_v3:{n}", factor="ETH", amount=Usd(n)) for n in range(8)]
    margins = ("initial_margin", "maintenance_margin", "siloed_margin", "net_margin", "static_margin")
    amounts = dict.fromkeys((*margins, "expected_loss", "equity", "worst_grid_loss"), Usd(10**11))
    return Assessment(
        subject=subject,
        score=100,
        grade="A",
        liquidation_probability=Probability(3000),
        insolvency_probability=Probability(0),
        worst_scenario="all -1",
        min_health=None,
        silos=(),
        explanation=tuple(parts),
        flags=(),
        unread=(),
        blocks=(),
        **amounts,
    )


def committee() -> Committee:
    signer = address_of(coincurve.PrivateKey(KEY).public_key.format(compressed=False))
    return Committee(
        config_count=0,
        operators=(Operator(signer=signer, identity=b"\x01" * 32),),
        destinations=(Destination(chain_id=1, oracle=account(0)),),
        chains=(),
        venues=(),
        history_hash=NO_HASH,
        genesis_time=0,
        round_interval_seconds=12,
        report_life_seconds=3600,
        account_cap=10**6,
        requests_per_operator=0,
    )


async def filled_store(members: Committee, accounts: int) -> MemoryStore:
    store, network = MemoryStore(), config_digest(members)
    leaves = [leaf_of(account(number)) for number in range(accounts)]
    tree = build_tree([leaf_hash(leaf) for leaf in leaves])
    roots = ("parent", "state_root", "pins_root", "market_root", "arrays_root", "parameters_hash", "feeds_root")
    header = ReportHeader(
        config_digest=network,
        round=1,
        observed_at=int(time.time()),
        valid_until=int(time.time()) + 3600,
        model_version=1,
        accounts_root=tree.root,
        account_count=accounts,
        feed_count=0,
        coverage_ppm=1_000_000,
        breaker_flags=0,
        **dict.fromkeys(roots, NO_HASH),
    )
    stored = [
        StoredAccount(
            subject=account(number),
            leaf=encode_leaf(leaf),
            proof=tuple(Hash32(node) for node in prove(tree, leaf_hash(leaf))),
            assessment=encode_json(assessment_of(account(number))),
        )
        for number, leaf in enumerate(leaves)
    ]
    digest = Hash32(network)
    report = StoredReport(
        config_digest=digest,
        round=1,
        report_hash=Hash32(report_hash(header)),
        header=encode_header(header),
        state=b"",
        certificate=None,
    )
    await store.put_report(report, stored)
    signature = sign_digest(signing_digest(header, members.destinations), KEY)
    await store.certify(digest, 1, encode_certificate(assemble_certificate(header, {0: signature})))
    return store


def run_server(accounts: int, told: Connection) -> None:
    async def run() -> None:
        members, status = committee(), NodeStatus(round_interval=12)
        store = await filled_store(members, accounts)
        metrics = HttpMetrics()
        app = create_app(store=store, committee=members, status=status, metrics=metrics, clock=SystemClock())
        async with serve(app) as listening:
            told.send((listening.host, listening.port))
            while await asyncio.to_thread(told.recv) != "stop":
                told.send(time.process_time())

    asyncio.run(run())


async def ask(host: str, port: int, start: int, accounts: int, until: float) -> list[float]:
    """Ask for one account after the other over one connection; return the seconds each took."""
    reader, writer = await asyncio.open_connection(host, port)
    took, number = [], start
    while (begin := time.perf_counter()) < until:
        path = f"/v1/accounts/{account(number % accounts)}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{path}: {head[:60]!r}")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        took.append(time.perf_counter() - begin)
        number += 1
    writer.close()
    return took


async def load(host: str, port: int, accounts: int, connections: int, seconds: float) -> list[float]:
    until = time.perf_counter() + seconds
    asking = [ask(host, port, index * accounts // connections, accounts, until) for index in range(connections)]
    return [took for each in await asyncio.gather(*asking) for took in each]


def server_seconds(server: Connection) -> float:
    """CPU time of the server so far: other work on the machine changes the requests per second, but hardly this."""
    server.send("cpu")
    return server.recv()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    server = context.Process(target=run_server, args=(options.accounts, there))
    server.start()
    try:
        host, port = here.recv()
        asyncio.run(load(host, port, options.accounts, options.connections, 1.0))
        before = server_seconds(here)
        took = sorted(asyncio.run(load(host, port, options.accounts, options.connections, options.seconds)))
        used = server_seconds(here) - before
    finally:
        here.send("stop")
        server.join()
    result = {
        "requests_per_second": round(len(took) / options.seconds),
        "server_cpu_us_per_request": round(used / len(took) * 1e6, 1),
        "p50_ms": round(took[len(took) // 2] * 1000, 2),
        "p99_ms": round(took[len(took) * 99 // 100] * 1000, 2),
        "accounts": options.accounts,
        "connections": options.connections,
    }
    for name, value in result.items():
        print(f"{name:28}{value:>12}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
