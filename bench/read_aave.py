"""How long reading Aave accounts at one pinned block takes, on the local chain with the real contracts.

    python -m bench.read_aave [--accounts 1000] [--repeat 5]

Prints a table and, as the last line, JSON. Every account holds two collaterals and one debt.
"""

import argparse
import asyncio
import json
import statistics
import time
from typing import Any

from adapters.chains import PinnedChain, open_chain
from adapters.protocols.aave_v3 import PROTOCOL, Deployment, adapter
from bench.borrowers import make_accounts
from devnet.launch import FIXED_GENESIS, launch
from devnet.local_chain import Devnet
from riskschema.units import Address

LIMIT_SECONDS = 2.0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--accounts", type=int, default=1_000)
    arguments.add_argument("--repeat", type=int, default=5)
    options = arguments.parse_args()
    with launch(genesis_timestamp=FIXED_GENESIS) as devnet:
        accounts = make_accounts(devnet, options.accounts)
        results = asyncio.run(measure(devnet, accounts, options.repeat))
    report(results)


async def measure(devnet: Devnet, accounts: list[Address], repeat: int) -> dict[str, Any]:
    """Read all accounts `repeat` times and check the result."""
    aave = adapter(
        Deployment(addresses_provider=Address(devnet.deployment.aave.addresses_provider)),
        chain_id=devnet.deployment.chain_id,
        assets={},
    )
    chain_id = devnet.deployment.chain_id
    async with open_chain(rpc_url=devnet.url, chain_id=chain_id, finality="latest") as chain:
        pinned: PinnedChain = await chain.pin(await chain.head())
        seconds = []
        for _ in range(repeat):
            started = time.perf_counter()
            reading = await aave.read(pinned, accounts)
            seconds.append(time.perf_counter() - started)
    assert len(reading.silos) == len(accounts), "an account was not read"
    assert all(silo.health is not None and len(silo.positions) == 3 for silo in reading.silos)
    return {
        "protocol": PROTOCOL,
        "accounts": len(accounts),
        "positions": sum(len(silo.positions) for silo in reading.silos),
        "seconds_best": min(seconds),
        "seconds_median": statistics.median(seconds),
        "seconds_worst": max(seconds),
        "limit": LIMIT_SECONDS,
    }


def report(results: dict[str, Any]) -> None:
    for name, value in results.items():
        print(f"{name:15} {value:.3f}" if isinstance(value, float) else f"{name:15} {value}")
    print(json.dumps(results))
    if results["seconds_median"] > LIMIT_SECONDS:
        raise SystemExit(f"slower than {LIMIT_SECONDS} s")


if __name__ == "__main__":
    main()
