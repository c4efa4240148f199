"""The block that a command reads at."""

from __future__ import annotations

from riskschema.errors import InvalidData, TransientError
from riskschema.ports import ChainReader, PinnedReader


async def pin(chain: ChainReader, block: int | None) -> PinnedReader:
    """Return a reader of a block given by number, or of the newest final one.

    Raises:
        InvalidData: the chain has no block of that number.
        TransientError: the endpoint failed.
    """
    if block is None:
        return await chain.pin(await chain.head())
    try:
        reference = await chain.block(block)
    except TransientError as error:
        if error.code not in {"block_unknown", "history_pruned"}:
            raise
        raise InvalidData(
            f"--block {block}: unknown on chain {chain.chain_id} ({error.message})", code="block_unknown"
        ) from error
    return await chain.pin(reference)
