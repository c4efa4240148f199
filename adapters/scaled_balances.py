"""Balances that grow with an index: from scaled units that are known, held against the contract on a rotating sample.

A balance is the product of scaled units and index over 10^27. Releases differ in how they round it (Aave's tokens half
up until v3.4, since v3.5 down for claims and up for debts), so the sample also tells the rounding; a balance that would
be another by a rounding that the sample leaves open is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from adapters.abi import Answer, ContractRefusal, Function, ask
from riskschema.ports import PinnedReader
from riskschema.units import Address

RAY = 10**27
SAMPLE = 8
"""Holders of each token whose balance is asked in every round; who they are goes round with the block number."""

_BALANCE = Function("balanceOf(address)", "(uint256)")

Pair = tuple[Address, Address]
"""A token and a holder."""
Rounding = Callable[[int], int]

ROUNDINGS: tuple[Rounding, ...] = (
    lambda product: (product + RAY // 2) // RAY,
    lambda product: product // RAY,
    lambda product: -(-product // RAY),
)
"""Half up, down, up; of a product of scaled units and index."""


class Scaled(msgspec.Struct, frozen=True):
    """What all holders of a token have, proved complete, and the index at the same block."""

    units: Mapping[Address, int]
    index: int
    """Ray."""
    roundings: Sequence[Rounding] = ()
    """By which the contract told what its sample has; none: it told something else."""
    told: Mapping[Address, int | ContractRefusal] = {}
    """What it told of its sample."""

    def balance(self, account: Address) -> int | ContractRefusal | None:
        """Return what an account has; None where the contract is to be asked."""
        if account in self.told:
            return self.told[account]
        units = self.units.get(account, 0)
        if not units:
            return 0 if self.roundings else None
        product = units * self.index
        balance = self.roundings[0](product) if self.roundings else None
        return balance if all(rounding(product) == balance for rounding in self.roundings[1:]) else None

    def sample(self, block: int) -> list[Address]:
        """Return the holders whose turn it is at a block."""
        holders = sorted(self.units)
        first = block * SAMPLE % max(1, len(holders))
        return (holders + holders)[first : first + min(SAMPLE, len(holders))]


async def sampled(reader: PinnedReader, known: Mapping[Address, Scaled]) -> dict[Address, Scaled]:
    """Return tokens with what their contracts tell of a sample of holders, and the roundings that make it.

    A token that contradicts its units under every rounding has none: it is asked for every holder.

    Raises:
        TransientError: the endpoint failed.
    """
    tokens = sorted(known)
    told = await _ask(
        reader, [(token, account) for token in tokens for account in known[token].sample(reader.block.number)]
    )
    answers: dict[Address, dict[Address, int | ContractRefusal]] = {token: {} for token in tokens}
    for (token, account), balance in told.items():
        answers[token][account] = balance
    return {token: _fitted(known[token], answers[token]) for token in tokens}


def _fitted(scaled: Scaled, told: Mapping[Address, int | ContractRefusal]) -> Scaled:
    roundings = tuple(
        rounding
        for rounding in ROUNDINGS
        if all(rounding(scaled.units[account] * scaled.index) == balance for account, balance in told.items())
    )
    return msgspec.structs.replace(scaled, roundings=roundings, told=told)


async def read_balances(
    reader: PinnedReader, pairs: Sequence[Pair], known: Mapping[Address, Scaled]
) -> dict[Pair, int | ContractRefusal]:
    """Return balances; of sampled tokens only what the sample leaves open is asked.

    Raises:
        TransientError: the endpoint failed.
    """
    deduced = {
        (token, account): known[token].balance(account) if token in known else None
        for token, account in dict.fromkeys(pairs)
    }
    told = await _ask(reader, [pair for pair, balance in deduced.items() if balance is None])
    return {pair: told[pair] if balance is None else balance for pair, balance in deduced.items()}


async def _ask(reader: PinnedReader, pairs: Sequence[Pair]) -> dict[Pair, int | ContractRefusal]:
    answers = await ask(reader, [(_BALANCE, token, (account,)) for token, account in pairs])
    return {pair: _value(answer) for pair, answer in zip(pairs, answers, strict=True)}


def _value(answer: Answer) -> int | ContractRefusal:
    return answer if isinstance(answer, ContractRefusal) else int(answer[0])
