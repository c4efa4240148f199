"""What reading Aave accounts costs: seconds, billed calls, posts and bytes, at two latencies, beside web3.py.

    python -m bench.reads [--accounts 1000] [--reserves 0] [--latencies 0 80] [--plain 100]

Ways, through Multicall3 and by single calls: `without index`; `first` (a node that has the index and has read no
account yet), `steady` (the next round, in which nothing changed), `changed` (one account of a hundred did), the
index's own part of the round included; and the same questions through web3.py: plain, one after the other, for
`--plain` accounts; and by Multicall3, 500 calls at a time. Every account holds two collaterals and one debt;
`--reserves` lists so many more reserves. `own` is this process's work, whatever the load. Bytes are those of all
answers, of web3.py only those of what contracts return. Prints a table and, as the last line, JSON.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
from web3 import AsyncHTTPProvider, AsyncWeb3

from adapters.chains import open_chain
from adapters.chains.multicall import MULTICALL3
from adapters.protocols.aave_v3 import Deployment, adapter
from bench.aave_market import change, list_reserves
from bench.read_aave import make_accounts
from devnet.launch import FIXED_GENESIS, launch
from devnet.local_chain import Devnet
from node.index.backfill import catch_up
from node.index.following import VenueIndex
from riskschema.units import Address
from storage.holder_index import open_holder_index
from tests.adapters.hostile_endpoint import HostileEndpoint, hostile_endpoints

AT_ONCE = 500
Row = dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--accounts", type=int, default=1_000)
    arguments.add_argument("--reserves", type=int, default=0, help="reserves besides those in use")
    arguments.add_argument("--latencies", type=int, nargs="+", default=[0, 80], help="milliseconds per post")
    arguments.add_argument("--plain", type=int, default=100, help="accounts for plain web3.py; 0: without web3.py")
    options = arguments.parse_args()
    with launch(genesis_timestamp=FIXED_GENESIS) as devnet:
        accounts = make_accounts(devnet, options.accounts)
        list_reserves(devnet, options.reserves)
        deploy_multicall(devnet)
        rows = asyncio.run(measure(devnet, accounts, options))
    for row in rows:
        print(
            f"{row['way']:22} {row['latency_ms']:3} ms  {row['accounts']:6} accounts {row['seconds']:8.3f} s "
            f"{row.get('own_seconds', 0):7.3f} s own {row['calls']:7} calls "
            f"{row['posts']:5} posts {row['bytes'] / 1e6:7.2f} MB received"
        )
    print(json.dumps(rows))


def deploy_multicall(devnet: Devnet) -> None:
    """Put a contract with the interface of Multicall3 where that is on other chains."""
    rpc = devnet.anvil.rpc
    creation = devnet.artifacts["CallAggregator"].creation_code({})
    runtime = rpc.request("eth_call", {"data": creation, "gas": hex(10_000_000)}, "latest")
    rpc.request("anvil_setCode", str(MULTICALL3), runtime)
    devnet.anvil.mine()


async def measure(devnet: Devnet, accounts: list[Address], options: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    async with hostile_endpoints(devnet.url, 1) as [endpoint]:
        for latency in options.latencies:
            endpoint.latency = latency / 1000
            url = devnet.url if latency == 0 else endpoint.url
            for multicall in (True, False):
                rows += await ours(devnet, url, accounts, multicall=multicall, latency=latency)
            for way, some in (
                () if not options.plain else (("web3 plain", accounts[: options.plain]), ("web3 Multicall3", accounts))
            ):
                row = await web3_row(devnet, endpoint, some, plain if way == "web3 plain" else together)
                rows.append({"way": way, "latency_ms": latency, "accounts": len(some), **row})
    return rows


async def ours(devnet: Devnet, url: str, accounts: list[Address], *, multicall: bool, latency: int) -> list[Row]:
    """Read all accounts in the ways of this project, and check the results."""
    deployment = Deployment(addresses_provider=Address(devnet.deployment.aave.addresses_provider))
    aave, fresh = (adapter(deployment, chain_id=devnet.deployment.chain_id, assets={}) for _ in range(2))
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        chain = await stack.enter_async_context(
            open_chain(rpc_url=url, chain_id=devnet.deployment.chain_id, finality="latest", multicall=multicall)
        )
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "index.sqlite"
        file = stack.enter_context(open_holder_index(path, venue=aave.venue, start_block=0))
        index = VenueIndex(aave, file, start_block=0)
        await catch_up(aave, file, chain, await chain.pin(await chain.head()), start_block=0)
        for way in ("without index", "first", "steady", "changed"):
            if way == "changed":
                change(devnet, accounts[::100])
            else:
                devnet.anvil.mine()
            pinned = await chain.pin(await chain.head())
            began, worked = msgspec.structs.replace(chain.endpoints()[0].traffic), time.process_time()
            started = time.perf_counter()
            told = None if way == "without index" else (await index.holders(chain, pinned)).told
            indexed = time.perf_counter()
            reading = await (fresh if told is None else aave).read(pinned, accounts, told)
            ended, after = time.perf_counter(), chain.endpoints()[0].traffic
            assert len(reading.silos) == len(accounts), "an account was not read"
            assert all(silo.health is not None and len(silo.positions) == 3 for silo in reading.silos)
            rows.append(
                {
                    "way": way if multicall else f"{way}, single",
                    "latency_ms": latency,
                    "accounts": len(accounts),
                    "seconds": ended - started,
                    "index_seconds": indexed - started,
                    "own_seconds": time.process_time() - worked,
                    "calls": after.calls - began.calls,
                    "posts": after.posts - began.posts,
                    "bytes": after.bytes_received - began.bytes_received,
                }
            )
    return rows


Read = Callable[[Any, list[tuple[str, str]]], Awaitable[int]]


async def web3_row(devnet: Devnet, endpoint: HostileEndpoint, accounts: list[Address], read: Read) -> Row:
    """Ask the same questions about every account through web3.py; addresses and ABIs are known beforehand."""
    questions = await questions_of(devnet, accounts)
    web3 = AsyncWeb3(AsyncHTTPProvider(endpoint.url))
    endpoint.asked.clear()
    endpoint.posts, started = 0, time.perf_counter()
    received = await read(web3, questions)
    seconds = time.perf_counter() - started
    await web3.provider.disconnect()
    return {
        "seconds": seconds,
        "calls": len(endpoint.asked),
        "posts": endpoint.posts,
        "bytes": received,
    }


async def questions_of(devnet: Devnet, accounts: list[Address]) -> list[tuple[str, str]]:
    pool = devnet.deployment.aave.pool
    reserves = [asset.token for asset in devnet.deployment.assets]
    data = [devnet.call("Pool", pool, "getReserveData", reserve)[0] for reserve in reserves]
    tokens = [str(each[8]) for each in data]
    debt = str(data[0][10])
    questions = []
    for account in accounts:
        word = account[2:].rjust(64, "0")
        questions += [(pool, "0x4417a583" + word), (pool, "0xbf92857c" + word), (pool, "0xeddf1b79" + word)]
        questions += [(token, "0x70a08231" + word) for token in (*tokens, debt)]
    return questions


async def plain(web3: Any, questions: list[tuple[str, str]]) -> int:
    received = 0
    for to, data in questions:
        received += len(await web3.eth.call({"to": web3.to_checksum_address(to), "data": data}))
    return received


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


async def together(web3: Any, questions: list[tuple[str, str]]) -> int:
    contract = web3.eth.contract(address=web3.to_checksum_address(MULTICALL3), abi=ABI)
    received = 0
    for at in range(0, len(questions), AT_ONCE):
        calls = [(web3.to_checksum_address(to), True, data) for to, data in questions[at : at + AT_ONCE]]
        results = await contract.functions.aggregate3(calls).call({"gas": 100_000_000})
        assert all(success for success, _ in results)
        received += sum(len(data) for _, data in results)
    return received


if __name__ == "__main__":
    main()
