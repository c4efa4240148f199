"""What one endpoint says alone and would count as a fact is asked of a second one first, where there is one."""

from __future__ import annotations

from collections.abc import Sequence

from riskschema.errors import InvalidData, TransientError
from riskschema.holders import Units
from riskschema.portfolio import VenueReading
from riskschema.ports import PinnedReader, ProtocolAdapter
from riskschema.units import Address

CONTRADICTION = "answers_contradict"


async def read_confirmed(
    adapter: ProtocolAdapter, reader: PinnedReader, accounts: Sequence[Address], indexed: Units | None = None
) -> VenueReading:
    """Read a venue; answers that contradict each other, and a refusal of everything, are asked of two endpoints.

    Args:
        adapter: Of the venue.
        reader: At the pinned block.
        accounts: Any.
        indexed: See `ProtocolAdapter.read`; two endpoints are asked for everything.

    Raises:
        TransientError: an endpoint failed; or answers contradict each other, or the code at the venue's address, and
            there is no second endpoint, or it says otherwise.
    """
    try:
        reading = await adapter.read(reader, accounts, indexed)
    except TransientError as error:
        second = reader.confirming()
        if error.code != CONTRADICTION or second is None:
            raise
        return await adapter.read(second, accounts)
    if not _refuses_everyone(reading, accounts):
        return reading
    second = reader.confirming()
    if second is not None and second is not reader:
        reading = await adapter.read(second, accounts)
    await _check_code(reading, second or reader)
    return reading


def _refuses_everyone(reading: VenueReading, accounts: Sequence[Address]) -> bool:
    return bool(accounts) and not reading.silos and {item.account for item in reading.unread} == set(accounts)


async def _check_code(reading: VenueReading, reader: PinnedReader) -> None:
    """Hold a refusal by the venue's own contract against whether there is code at its address.

    Raises:
        TransientError: it has none and reverts, or has some and answers nothing.
    """
    entry = _entry(reading)
    said = {item.code for item in reading.unread if entry is not None and f"at {entry}" in item.detail}
    if entry is None or not said:
        return
    (has_code,) = await reader.has_code([entry])
    if ("no_code" in said) is has_code:
        raise TransientError(
            f"{reader.where}: {entry} {'has' if has_code else 'has no'} code at block "
            f"{reader.block.number}, but calls of it end with {', '.join(sorted(said))}: one of them is answered "
            "wrongly; add another endpoint, or replace it",
            code=CONTRADICTION,
        )


def _entry(reading: VenueReading) -> Address | None:
    """Return the address that names the venue, where it is one."""
    try:
        return Address(reading.venue.rpartition(":")[2])
    except (ValueError, InvalidData):
        return None
