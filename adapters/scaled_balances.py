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

    def balances(self, account: Address, roundings: Sequence[Rounding]) -> set[int]:
        """Return what an account's balance is by each rounding."""
        return {rounding(self.units.get(account, 0) * self.index) for rounding in roundings}

    def sample(self, block: int) -> list[Address]:
        """Return the holders whose turn it is at a block."""
        holders = sorted(self.units)
        first = block * SAMPLE % max(1, len(holders))
        return (holders + holders)[first : first + min(SAMPLE, len(holders))]


async def read_balances(
    reader: PinnedReader, pairs: Sequence[Pair], known: Mapping[Address, Scaled]
) -> dict[Pair, int | ContractRefusal]:
    """Return balances; of tokens in `known` only a sample is asked, and what the sample leaves open.

    A token that contradicts its units under every rounding is asked for every holder.

    Raises:
        TransientError: the endpoint failed.
    """
    wanted = dict.fromkeys(pairs)
    tokens = {token for token, _ in wanted if token in known}
    sample = [(token, account) for token in sorted(tokens) for account in known[token].sample(reader.block.number)]
    told = await _ask(reader, sample)
    roundings = {token: _fitting(token, known[token], told) for token in tokens}
    found: dict[Pair, int | ContractRefusal] = {}
    for token, account in wanted:
        if token in tokens and len(balances := known[token].balances(account, roundings[token])) == 1:
            found[token, account] = balances.pop()
    rest = await _ask(reader, [pair for pair in wanted if pair not in found and pair not in told])
    return {pair: found[pair] if pair in found else _told(told, rest, pair) for pair in wanted}


def _told(
    told: Mapping[Pair, int | ContractRefusal], rest: Mapping[Pair, int | ContractRefusal], pair: Pair
) -> int | ContractRefusal:
    return told[pair] if pair in told else rest[pair]


def _fitting(token: Address, scaled: Scaled, told: Mapping[Pair, int | ContractRefusal]) -> tuple[Rounding, ...]:
    """Return the roundings that make what the contract told of its sample; none where it told something else."""
    answers = {account: balance for (of, account), balance in told.items() if of == token}
    return tuple(
        rounding
        for rounding in ROUNDINGS
        if all(rounding(scaled.units[account] * scaled.index) == balance for account, balance in answers.items())
    )


async def _ask(reader: PinnedReader, pairs: Sequence[Pair]) -> dict[Pair, int | ContractRefusal]:
    answers = await ask(reader, [(_BALANCE, token, (account,)) for token, account in pairs])
    return {pair: _value(answer) for pair, answer in zip(pairs, answers, strict=True)}


def _value(answer: Answer) -> int | ContractRefusal:
    return answer if isinstance(answer, ContractRefusal) else int(answer[0])
