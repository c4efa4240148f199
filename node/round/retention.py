"""Which rounds stay in the store: by number, age and bytes, and always those that the node needs."""

from __future__ import annotations

import msgspec

from riskschema.ports import Store
from riskschema.rounds import StoreSize
from riskschema.units import Hash32

DAY = 86_400
MEGABYTE = 10**6
NEEDED_ROUNDS = 2
"""The newest rounds, of which the messages still count after a restart."""
ROUNDS_AT_ONCE = 4
ROUNDS_PER_ROUND = 64
"""Most rounds deleted for their bytes after one round: a limit that was lowered is reached over several."""
EVERY_ROUND = 2**62


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How much is kept; the stricter of the two decides."""

    rounds: int
    bytes: int
    """Of the database pages in use."""
    transactions: int = 0
    """Rounds whose transactions stay in any case: the publisher's budget of the day counts them."""


def retention(*, rounds: int, days: int | None, megabytes: int, interval_seconds: int) -> Retention:
    """Return what the settings ask for: rounds are slots of the clock, so their numbers tell their age."""
    aged = rounds if days is None else min(rounds, days * DAY // interval_seconds)
    return Retention(
        rounds=max(aged, NEEDED_ROUNDS), bytes=megabytes * MEGABYTE, transactions=-(-DAY // interval_seconds)
    )


async def make_room(store: Store, config_digest: Hash32, kept: Retention, round_number: int) -> StoreSize:
    """Delete what is not kept after a round; return what the store takes then.

    The latest certified round stays whatever the limits, as do the newest rounds, the hours, and transactions that are
    not settled. Where bytes must go, rounds of earlier committees go first.
    """
    spending = round_number - kept.transactions
    await store.prune(config_digest, below_round=round_number - kept.rounds, transactions_below=spending)
    size = await store.size()
    if size.used <= kept.bytes:
        return size
    earlier = [digest for digest in await store.config_digests() if digest != config_digest]
    doomed = [*((digest, EVERY_ROUND) for digest in earlier), (config_digest, round_number - NEEDED_ROUNDS + 1)]
    left = ROUNDS_PER_ROUND
    for digest, below_round in doomed:
        while left > 0 and size.used > kept.bytes:
            deleted = await store.prune(
                digest,
                below_round=below_round,
                at_most=ROUNDS_AT_ONCE,
                transactions_below=spending if digest == config_digest else None,
            )
            if not deleted:
                break
            left -= deleted
            size = await store.size()
    return size
