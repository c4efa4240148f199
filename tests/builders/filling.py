"""A process that fills the index of the fake mainnet and proves it, however often it was killed before.

    python -m tests.builders.filling INDEX AGREEMENT URL[,LOG_RANGE] ...

Prints what everybody has, as JSON, in the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from adapters.chains import EndpointOptions, open_chain
from adapters.protocols.uniswap_v3 import Deployment, adapter
from node.index.backfill import catch_up
from node.index.following import VenueHolders, VenueIndex
from riskschema.errors import TransientError
from riskschema.units import Address
from storage.holder_index import open_holder_index
from tests.builders.fake_mainnet import CHAIN_ID, NFTS

VENUE = adapter(Deployment(position_manager=Address(NFTS)), chain_id=CHAIN_ID, assets={})


def options_of(texts: Sequence[str]) -> list[EndpointOptions]:
    """Return endpoints with the ranges that are known of them beforehand."""
    parts = [text.partition(",") for text in texts]
    return [EndpointOptions(url=url, log_range=int(span) if span else 10**6) for url, _, span in parts]


async def fill(path: Path, agreement: int, endpoints: Sequence[EndpointOptions]) -> VenueHolders:
    """Return who has something at the newest block, proved; what fails for a while is tried again."""
    while True:
        try:
            async with open_chain(
                endpoints=endpoints,
                chain_id=CHAIN_ID,
                agreement=agreement,
                finality="latest",
                timeout_seconds=60.0,
            ) as chain:
                with open_holder_index(path, venue=VENUE.venue, start_block=0) as index:
                    await catch_up(VENUE, index, chain, await chain.pin(await chain.head()), start_block=0)
                    following = VenueIndex(VENUE, index, start_block=0)
                    return await following.proved(chain, lambda said: print(said, file=sys.stderr))
        except TransientError as error:
            print(error, file=sys.stderr)
            await asyncio.sleep(0.1)


def main() -> None:
    """Fill the index that the arguments name."""
    path, agreement, *urls = sys.argv[1:]
    found = asyncio.run(fill(Path(path), int(agreement), options_of(urls)))
    print(json.dumps(dict(found.units["nfts"])))


if __name__ == "__main__":
    main()
