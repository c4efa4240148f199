"""What reading Aave accounts costs: seconds, billed calls, posts and bytes, at two latencies, beside web3.py.

    python -m bench.reads [--accounts 1000] [--reserves 0] [--latencies 0 80] [--plain 100] [--write docs/reads.md]

Ways, through Multicall3 and by single calls: `without index`; `first` (a node that has the index and has read no
account yet), `steady` (the next round, in which nothing changed), `changed` (one account of a hundred did), the
index's own part of the round included; and the same questions through web3.py: plain, one after the other, for
`--plain` accounts; and by Multicall3, 500 calls at a time. Every account holds two collaterals and one debt;
`--reserves` lists so many more reserves. `ours` is this process's work and `chain's` the local chain's, both in seconds
of one core, whatever the load; bytes are those of all answers. Prints a table and, as the last line, JSON.
"""

import argparse
import asyncio
import gc
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from web3 import AsyncHTTPProvider, AsyncWeb3

from adapters.chains import open_chain
from adapters.chains.multicall import MULTICALL3
from adapters.protocols.aave_v3 import Deployment, adapter
from bench.aave_market import change, list_reserves
from bench.borrowers import make_accounts
from bench.distance import away
from devnet.launch import FIXED_GENESIS, launch
from devnet.local_chain import Devnet
from node.index.backfill import catch_up
from node.index.following import VenueIndex
from riskschema.units import Address
from storage.holder_index import open_holder_index

AT_ONCE = 500
WAYS = ("without index", "first", "steady", "changed")
Row = dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--accounts", type=int, default=1_000)
    arguments.add_argument("--reserves", type=int, default=0, help="reserves besides those in use")
    arguments.add_argument("--latencies", type=int, nargs="+", default=[0, 80], help="milliseconds per post")
    arguments.add_argument("--plain", type=int, default=100, help="accounts for plain web3.py; 0: without web3.py")
    arguments.add_argument("--multicall", action="store_true", help="ours only through Multicall3")
    arguments.add_argument("--write", type=Path, help="page whose table of so many accounts and reserves is replaced")
    options = arguments.parse_args()
    with launch(genesis_timestamp=FIXED_GENESIS) as devnet:
        accounts = make_accounts(devnet, options.accounts)
        list_reserves(devnet, options.reserves)
        deploy_multicall(devnet)
        rows = asyncio.run(measure(devnet, accounts, options))
    print(json.dumps(rows))
    if options.write:
        write(options.write, f"<!-- {options.accounts} accounts, {options.reserves} further reserves -->\n", rows)


def write(page: Path, mark: str, rows: list[Row]) -> None:
    """Put a table of the rows behind a mark of a page."""
    before, _, rest = page.read_text().partition(mark)
    table = [
        "| way | accounts | latency, ms | seconds | ours | chain's | calls | posts | MB received |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(
            f"| {row['way']} | {row['accounts']:,} | {row['latency_ms']} | {row['seconds']:.2f} | "
            f"{row['own_seconds']:.2f} | {row['chain_seconds']:.2f} | {row['calls']:,} | {row['posts']:,} | "
            f"{row['bytes'] / 1e6:.2f} |"
            for row in rows
        ),
    ]
    page.write_text(f"{before}{mark}{chr(10).join(table)}\n{rest[rest.index('<!-- end -->') :]}")


def told(row: Row) -> Row:
    """Print a row as soon as there is one, and return it."""
    print(
        f"{row['way']:22} {row['latency_ms']:3} ms  {row['accounts']:6} accounts {row['seconds']:8.3f} s "
        f"{row['own_seconds']:7.3f} s ours {row['chain_seconds']:7.3f} s chain's {row['calls']:7} calls "
        f"{row['posts']:6} posts {row['bytes'] / 1e6:7.2f} MB received",
        flush=True,
    )
    return row


def deploy_multicall(devnet: Devnet) -> None:
    """Put a contract with the interface of Multicall3 where that is on other chains."""
    rpc = devnet.anvil.rpc
    creation = devnet.artifacts["CallAggregator"].creation_code({})
    runtime = rpc.request("eth_call", {"data": creation, "gas": hex(10_000_000)}, "latest")
    rpc.request("anvil_setCode", str(MULTICALL3), runtime)
    devnet.anvil.mine()


async def measure(devnet: Devnet, accounts: list[Address], options: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    for latency in options.latencies:
        with ExitStack() as stack:
            port = int(devnet.url.rpartition(":")[2])
            url = stack.enter_context(away(port, latency)) if latency else devnet.url
            for multicall in (True,) if options.multicall else (True, False):
                rows += await ours(devnet, url, accounts, multicall=multicall, latency=latency)
            for way, read, some in (
                ("web3 plain", plain, accounts[: options.plain]),
                ("web3 Multicall3", together, accounts),
            ):
                if options.plain:
                    row = await web3_row(devnet, url, some, read)
                    rows.append(told({"way": way, "latency_ms": latency, "accounts": len(some), **row}))
    return rows


@contextmanager
def timed(devnet: Devnet, row: Row) -> Iterator[None]:
    """Note how long something takes: by the clock, and of the processors by whom."""
    gc.collect()
    began, worked, chain = time.perf_counter(), time.process_time(), chain_seconds(devnet)
    yield
    row["seconds"] = time.perf_counter() - began
    row["own_seconds"] = time.process_time() - worked
    row["chain_seconds"] = chain_seconds(devnet) - chain


def chain_seconds(devnet: Devnet) -> float:
    """Return the seconds of one core that the local chain has used so far; 0 where the system does not tell."""
    watchdog = devnet.anvil.process.pid
    try:
        children = Path(f"/proc/{watchdog}/task/{watchdog}/children").read_text().split()
        fields = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split() for child in children]
    except OSError:
        return 0.0
    return sum(int(each[11]) + int(each[12]) for each in fields) / os.sysconf("SC_CLK_TCK")


async def ours(devnet: Devnet, url: str, accounts: list[Address], *, multicall: bool, latency: int) -> list[Row]:
    """Read all accounts in the ways of this project, and check the results."""
    deployment = Deployment(addresses_provider=Address(devnet.deployment.aave.addresses_provider))
    aave, fresh = (adapter(deployment, chain_id=devnet.deployment.chain_id, assets={}) for _ in range(2))
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        chain = await stack.enter_async_context(
            open_chain(
                rpc_url=url,
                chain_id=devnet.deployment.chain_id,
                finality="latest",
                multicall=multicall,
                timeout_seconds=120.0,
            )
        )
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "index.sqlite"
        file = stack.enter_context(open_holder_index(path, venue=aave.venue, start_block=0))
        index = VenueIndex(aave, file, start_block=0)
        await catch_up(aave, file, chain, await chain.pin(await chain.head()), start_block=0)
        for way in WAYS:
            if way == "changed":
                change(devnet, accounts[::100])
            else:
                devnet.anvil.mine()
            pinned = await chain.pin(await chain.head())
            row: Row = {"way": way if multicall else f"{way}, single", "latency_ms": latency, "accounts": len(accounts)}
            began = msgspec.structs.replace(chain.endpoints()[0].traffic)
            with timed(devnet, row):
                worked = time.process_time()
                holders = None if way == "without index" else (await index.holders(chain, pinned)).told
                row["index_seconds"] = time.process_time() - worked
                reading = await (fresh if holders is None else aave).read(pinned, accounts, holders)
            traffic = chain.endpoints()[0].traffic
            assert len(reading.silos) == len(accounts), "an account was not read"
            assert all(silo.health is not None and len(silo.positions) == 3 for silo in reading.silos)
            row["calls"], row["posts"] = traffic.calls - began.calls, traffic.posts - began.posts
            row["bytes"] = traffic.bytes_received - began.bytes_received
            rows.append(told(row))
    return rows


class CountingProvider(AsyncHTTPProvider):
    """web3's own provider, and what it sent and received."""

    posts = received = 0

    async def make_request(self, method: Any, params: Any) -> Any:
        self.posts += 1
        return await super().make_request(method, params)

    def decode_rpc_response(self, raw_response: bytes) -> Any:  # type: ignore[override]
        self.received += len(raw_response)
        return super().decode_rpc_response(raw_response)


Read = Callable[[Any, list[tuple[str, str]]], Awaitable[None]]


async def web3_row(devnet: Devnet, url: str, accounts: list[Address], read: Read) -> Row:
    """Ask the same questions about every account through web3.py; addresses and ABIs are known beforehand."""
    questions = questions_of(devnet, accounts)
    provider = CountingProvider(url)
    web3, row = AsyncWeb3(provider), Row()
    with timed(devnet, row):
        await read(web3, questions)
    await provider.disconnect()
    return {**row, "calls": provider.posts, "posts": provider.posts, "bytes": provider.received}


def questions_of(devnet: Devnet, accounts: list[Address]) -> list[tuple[str, str]]:
    pool = devnet.deployment.aave.pool
    reserves = devnet.call("Pool", pool, "getReservesList")[0]
    data = {reserve.lower(): devnet.call("Pool", pool, "getReserveData", reserve)[0] for reserve in reserves}
    tokens = [str(each[8]) for each in data.values()]
    debt = str(data[next(each.token for each in devnet.deployment.assets if each.symbol == "USDC").lower()][10])
    questions = []
    for account in accounts:
        word = account[2:].rjust(64, "0")
        questions += [(pool, "0x4417a583" + word), (pool, "0xbf92857c" + word), (pool, "0xeddf1b79" + word)]
        questions += [(token, "0x70a08231" + word) for token in (*tokens, debt)]
    return questions


async def plain(web3: Any, questions: list[tuple[str, str]]) -> None:
    for to, data in questions:
        await web3.eth.call({"to": web3.to_checksum_address(to), "data": data})


ABI = [
    {
        "type": "function",
        "name": "aggregate3",
        "stateMutability": "view",
        "inputs": [
            {
                "name": "calls",
                "type": "tuple[]",
                "components": [
                    {"name": "target", "type": "address"},
                    {"name": "allowFailure", "type": "bool"},
                    {"name": "callData", "type": "bytes"},
                ],
            }
        ],
        "outputs": [
            {
                "name": "results",
                "type": "tuple[]",
                "components": [{"name": "success", "type": "bool"}, {"name": "returnData", "type": "bytes"}],
            }
        ],
    }
]


async def together(web3: Any, questions: list[tuple[str, str]]) -> None:
    contract = web3.eth.contract(address=web3.to_checksum_address(MULTICALL3), abi=ABI)
    for at in range(0, len(questions), AT_ONCE):
        calls = [(web3.to_checksum_address(to), True, data) for to, data in questions[at : at + AT_ONCE]]
        results = await contract.functions.aggregate3(calls).call({"gas": 100_000_000})
        assert all(success for success, _ in results)


if __name__ == "__main__":
    main()
