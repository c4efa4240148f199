"""Which NFTs accounts have: how many by the index where it knows, which ones and what is in them by the manager.

How many an account has changes only with transfers, and the sum over all accounts is the manager's total. What is in an
NFT is asked in every round: its fees grow with every swap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.abi import Answer, ContractRefusal, Function, Question, ask
from adapters.crosschecks import contradiction
from adapters.sampling import Trust, drawn
from riskschema.holders import Units
from riskschema.instruments import VenueId
from riskschema.ports import CallSuccess, PinnedReader
from riskschema.units import ZERO_ADDRESS, Address

BOOK = "nfts"
COUNT = Function("balanceOf(address)", "(uint256)")
_TOKEN_ID = Function("tokenOfOwnerByIndex(address,uint256)", "(uint256)")
_OWNER = Function("ownerOf(uint256)", "(address)")
_POSITION = Function(
    "positions(uint256)",
    "(uint96,address,address,address,uint24,int24,int24,uint128,uint256,uint256,uint128,uint128)",
)
_TOGETHER = Function("multicall(bytes[])", "(bytes[])")

Slot = tuple[Address, int]
"""An account and the place of an NFT in its list."""
Counts = Mapping[Address, int | ContractRefusal]


class Lists:
    """The lists of NFTs that one position manager keeps.

    Args:
        manager: The position manager.
        longest: NFTs of one account that are read, those that it got first.
        venue: For the log.
    """

    def __init__(self, manager: Address, *, longest: int, venue: VenueId) -> None:
        self._manager = manager
        self._longest = longest
        self._trust = Trust(venue)

    async def read(
        self, reader: PinnedReader, accounts: Sequence[Address], indexed: Units
    ) -> tuple[Counts, dict[Slot, int | ContractRefusal]]:
        """Return how many NFTs accounts have, and the first ones of each.

        Raises:
            TransientError: the endpoint failed, or alone contradicts the index.
        """
        known = {account: indexed[BOOK].get(account, 0) for account in accounts} if BOOK in indexed else {}
        known.pop(ZERO_ADDRESS, None)  # owns nothing, and the manager does not say so
        asked = [*(account for account in accounts if account not in known), *_drawn(known, reader)]
        told = await self._counts(reader, asked)
        counts: dict[Address, int | ContractRefusal] = {
            account: told.get(account, known.get(account, 0)) for account in accounts
        }
        ids = await self._ids(reader, counts)
        wrong = [account for account in told if account in known and told[account] != known[account]]
        wrong += [account for (account, _), id_ in ids.items() if account in known and isinstance(id_, ContractRefusal)]
        for account in wrong:
            contradiction(reader, f"{account} has not {known[account]} NFTs, as it has by the index of all holders")
        if known:
            self._trust.note(bool(wrong))
        if wrong:
            counts = await self._counts(reader, accounts)
            ids = await self._ids(reader, counts)
        return counts, ids

    async def _counts(self, reader: PinnedReader, accounts: Sequence[Address]) -> dict[Address, int | ContractRefusal]:
        answers = await ask(reader, [(COUNT, self._manager, (account,)) for account in accounts])
        return {
            account: answer if isinstance(answer, ContractRefusal) else answer[0]
            for account, answer in zip(accounts, answers, strict=True)
        }

    async def _ids(self, reader: PinnedReader, counts: Counts) -> dict[Slot, int | ContractRefusal]:
        """Return the first NFTs of each account: the manager lists them as they came, so strangers add to the end."""
        slots = [
            (account, at)
            for account, count in counts.items()
            if not isinstance(count, ContractRefusal)
            for at in range(min(count, self._longest))
        ]
        answers = await ask(reader, [(_TOKEN_ID, self._manager, slot) for slot in slots])
        return {
            slot: answer if isinstance(answer, ContractRefusal) else answer[0]
            for slot, answer in zip(slots, answers, strict=True)
        }


def _drawn(known: Mapping[Address, int], reader: PinnedReader) -> Sequence[Address]:
    """Return whose count is asked all the same, of those who have NFTs and some of those who have none."""
    owners = [account for account, count in known.items() if count]
    others = [account for account, count in known.items() if not count]
    return (*drawn(owners, reader.block), *drawn(others, reader.block, rounds=max(1, len(others))))


async def read_positions(reader: PinnedReader, manager: Address, ids: Mapping[Slot, int]) -> list[Answer]:
    """Return what the manager says of NFTs.

    Place, owner and content of one are asked in one call of the manager itself, so that no answer can be another's.

    Raises:
        TransientError: the endpoint failed, or says of one NFT what cannot be true together.
    """
    parts = {slot: _parts(manager, slot, id_) for slot, id_ in ids.items()}
    together = [
        (_TOGETHER, manager, ([function.call(at, *given).data for function, at, given in each],))
        for each in parts.values()
    ]
    found = dict(zip(parts, map(_separated, await ask(reader, together)), strict=True))
    apart = [slot for slot, answers in found.items() if answers is None]
    rest = iter(await ask(reader, [question for slot in apart for question in parts[slot]]))
    found |= {slot: [next(rest) for _ in parts[slot]] for slot in apart}
    positions = []
    for slot, answers in found.items():
        assert answers is not None  # noqa: S101 - filled in just now
        listed, owner, position = answers
        if (listed, owner) != ((ids[slot],), (slot[0],)):
            contradiction(reader, f"{manager} lists NFT {ids[slot]} for {slot[0]}, and another there or for another")
        positions.append(position)
    return positions


def _parts(manager: Address, slot: Slot, id_: int) -> tuple[Question, Question, Question]:
    return (_TOKEN_ID, manager, slot), (_OWNER, manager, (id_,)), (_POSITION, manager, (id_,))


def _separated(answer: Answer) -> list[Answer] | None:
    """Return the three answers in one; None where they are to be asked one by one."""
    if isinstance(answer, ContractRefusal) or len(answer[0]) != 3:
        return None
    try:
        return [
            function.decode(CallSuccess(data), ZERO_ADDRESS)
            for function, data in zip((_TOKEN_ID, _OWNER, _POSITION), answer[0], strict=True)
        ]
    except ContractRefusal:
        return None
