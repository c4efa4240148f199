"""Requests per second of the HTTP API: processes that serve one database file, and as many clients.

    python bench/api.py [--processes 1] [--accounts 1000] [--connections 32] [--seconds 5]

Each client process keeps its connections to one server open. Accounts are asked for in turn, so the first pass makes
each answer from the database and all later ones come from the cache. Prints a table and, as the last line, JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import coincurve
import msgspec

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
from riskschema.assessment import Assessment, Contribution, ProbabilityInterval
from riskschema.codec import encode_json
from riskschema.ports import Store
from riskschema.rounds import StoredAccount, StoredReport
from riskschema.units import Address, Hash32, Probability, Usd
from storage.store import open_store, open_store_to_read

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
    margins = (
        "initial_margin",
        "base_margin",
        "add_ons",
        "maintenance_margin",
        "siloed_margin",
        "net_margin",
        "static_margin",
    )
    amounts = dict.fromkeys((*margins, "expected_loss", "equity", "worst_grid_loss"), Usd(10**11))
    return Assessment(
        subject=subject,
        score=100,
        grade="A",
        liquidation_probability=Probability(3000),
        probability_interval=ProbabilityInterval(estimate=Probability(9), low=Probability(1), high=Probability(20)),
        uncovered=None,
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


async def fill_store(store: Store, members: Committee, accounts: int) -> None:
    network = config_digest(members)
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
    certificate = encode_certificate(assemble_certificate(header, {0: signature}))
    await store.certify(msgspec.structs.replace(report, certificate=certificate))


async def write_database(path: Path, accounts: int) -> None:
    async with open_store(path) as store:
        await fill_store(store, committee(), accounts)


def run_server(path: Path, told: Connection) -> None:
    async def run() -> None:
        members, status = committee(), NodeStatus(round_interval=12)
        async with open_store_to_read(path) as store:
            app = create_app(store=store, committee=members, status=status, metrics=HttpMetrics(), clock=SystemClock())
            async with serve(app) as listening:
                told.send((listening.host, listening.port))
                while await asyncio.to_thread(told.recv) != "stop":
                    told.send(time.process_time())

    asyncio.run(run())


def run_client(host: str, port: int, told: Connection) -> None:
    """Ask as often as told to: accounts, connections and seconds at a time."""
    while (told_to := told.recv()) is not None:
        told.send(asyncio.run(load(host, port, *told_to)))


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


class Pair:
    """A server and its client, each in a process of its own."""

    def __init__(self, path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._server, there = context.Pipe()
        self._client, client_there = context.Pipe()
        self._processes = [context.Process(target=run_server, args=(path, there))]
        self._processes[0].start()
        host, port = self._server.recv()
        self._processes.append(context.Process(target=run_client, args=(host, port, client_there)))
        self._processes[1].start()

    def begin(self, accounts: int, connections: int, seconds: float) -> None:
        self._client.send((accounts, connections, seconds))

    def finish(self) -> list[float]:
        took: list[float] = self._client.recv()
        return took

    def server_seconds(self) -> float:
        """CPU time of the server so far: other work on the machine changes the requests per second, but hardly this."""
        self._server.send("cpu")
        seconds: float = self._server.recv()
        return seconds

    def close(self) -> None:
        self._client.send(None)
        self._server.send("stop")
        for process in self._processes:
            process.join()


def measure(pairs: list[Pair], accounts: int, connections: int, seconds: float) -> tuple[list[float], float]:
    """Return what each request took, and the CPU time of all servers."""
    before = sum(pair.server_seconds() for pair in pairs)
    for pair in pairs:
        pair.begin(accounts, connections, seconds)
    took = sorted(took for pair in pairs for took in pair.finish())
    return took, sum(pair.server_seconds() for pair in pairs) - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bench.sqlite"
        asyncio.run(write_database(path, options.accounts))
        pairs = [Pair(path) for _ in range(options.processes)]
        try:
            first, first_used = measure(pairs, options.accounts, options.connections, options.seconds)
            took, used = measure(pairs, options.accounts, options.connections, options.seconds)
        finally:
            for pair in pairs:
                pair.close()
    result = {
        "processes": options.processes,
        "requests_per_second": round(len(took) / options.seconds),
        "server_cpu_us_per_request": round(used / len(took) * 1e6, 1),
        "server_cpu_us_while_filling": round(first_used / len(first) * 1e6, 1),
        "p50_ms": round(took[len(took) // 2] * 1000, 2),
        "p99_ms": round(took[len(took) * 99 // 100] * 1000, 2),
        "accounts": options.accounts,
        "connections": options.connections,
        "load_average": round(os.getloadavg()[0], 1),
    }
    for name, value in result.items():
        print(f"{name:34}{value:>12}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
