"""The chains of the settings, opened."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from adapters.chains import Chain as OpenedChain
from adapters.chains import EndpointOptions, open_chain
from node.endpoints.remembered import RememberedEndpoints
from node.settings import Chain, Endpoint, endpoint_url, endpoints_of


def endpoint_options(endpoint: Endpoint, directory: Path) -> EndpointOptions:
    """Return an endpoint as the reader takes it, its address read from its file where it is kept there."""
    return EndpointOptions(
        url=endpoint_url(endpoint, directory),
        log_range=endpoint.log_range,
        batch_size=endpoint.batch_size,
        concurrency=endpoint.concurrency,
        calls_per_day=endpoint.calls_per_day,
    )


async def open_chains(
    stack: AsyncExitStack, chains: Sequence[Chain], directory: Path, remembered: RememberedEndpoints | None = None
) -> dict[int, OpenedChain]:
    """Connect to every configured chain; each endpoint is checked for chain id and genesis.

    Args:
        stack: Closes them.
        chains: Of the settings.
        directory: Relative paths in the settings begin here.
        remembered: What was found of endpoints before; saved until the stack is closed.

    Raises:
        TransientError: too few endpoints answer.
        FatalError: too few serve the chain.
    """
    readers: dict[int, OpenedChain] = {}
    for chain in chains:
        options = [endpoint_options(endpoint, directory) for endpoint in endpoints_of(chain)]
        if remembered is not None:
            options = [
                msgspec.structs.replace(each, learned=remembered.recall(chain.chain_id, each.url)) for each in options
            ]
        readers[chain.chain_id] = await stack.enter_async_context(
            open_chain(
                endpoints=options,
                chain_id=chain.chain_id,
                agreement=chain.agreement,
                multicall=chain.multicall,
                genesis_hash=chain.genesis_hash,
                finality=chain.finality,
                confirmations=chain.confirmations,
                timeout_seconds=chain.timeout,
            )
        )
        if remembered is not None:
            remembered.watch(readers[chain.chain_id], [each.url for each in options])
    if remembered is not None:
        await stack.enter_async_context(remembered.saving())
    return readers
