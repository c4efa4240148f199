"""Balances from the index's units: equal to the contract's, whatever it rounds, and never believed against it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.abi import ContractRefusal, Function
from adapters.discovery import discover
from adapters.protocols.aave_v3 import Deployment, adapter
from adapters.scaled_balances import RAY, SAMPLE, Pair, Scaled, read_balances, sampled
from devnet.local_chain import Devnet
from riskschema.portfolio import BlockReference
from riskschema.ports import Call, CallResult, CallSuccess, PinnedReader
from riskschema.units import Address, Hash32
from tests.adapters.confirmed import Confirmed

TOKEN = Address("0x" + "70" * 20)
BALANCE = Function("balanceOf(address)", "(uint256)")
ROUNDED: dict[str, Callable[[int], int]] = {
    "half up": lambda product: (product + RAY // 2) // RAY,
    "down": lambda product: product // RAY,
    "up": lambda product: (product + RAY - 1) // RAY,
}


def account(number: int) -> Address:
    return Address(f"0x{number:040x}")


class Contract(Confirmed):
    """A token whose balances are what a test says; remembers who was asked about."""

    def __init__(self, balances: Mapping[Address, int], number: int = 7) -> None:
        self.block = BlockReference(chain_id=1, number=number, hash=Hash32(bytes(32)), timestamp=1_700_000_000)
        self._balances = balances
        self.asked: list[Address] = []

    async def call(self, calls: Sequence[Call]) -> tuple[CallResult, ...]:
        holders = [Address("0x" + call.data[-20:].hex()) for call in calls]
        self.asked += holders
        return tuple(CallSuccess(self._balances[holder].to_bytes(32, "big")) for holder in holders)

    async def native_balances(self, accounts: Sequence[Address]) -> tuple[int, ...]:
        raise AssertionError

    async def logs(self, **_query: Any) -> tuple[Any, ...]:
        raise AssertionError


async def balances_of(
    contract: Contract, pairs: Sequence[Pair], scaled: Mapping[Address, int], index: int
) -> dict[Pair, int | ContractRefusal]:
    """Read balances where all units are known."""
    return await read_balances(contract, pairs, await sampled(contract, {TOKEN: Scaled(scaled, index)}))


@given(
    units=st.lists(st.integers(1, 2**100), min_size=1, max_size=60),
    index=st.integers(RAY, 3 * RAY),
    rounding=st.sampled_from(sorted(ROUNDED)),
    block=st.integers(0, 10**8),
)
async def test_every_balance_is_the_contracts_and_few_are_asked(
    units: list[int], index: int, rounding: str, block: int
) -> None:
    scaled = {account(number): each for number, each in enumerate(units)}
    balances = {holder: ROUNDED[rounding](each * index) for holder, each in scaled.items()}
    contract = Contract(balances, block)
    nobody = account(10**6)
    pairs = [(TOKEN, holder) for holder in (*scaled, nobody)]
    found = await balances_of(contract, pairs, scaled, index)
    assert found == {**{(TOKEN, holder): balance for holder, balance in balances.items()}, (TOKEN, nobody): 0}
    assert nobody not in contract.asked


async def test_the_sample_goes_round_all_holders() -> None:
    scaled = {account(number): 10**18 + number for number in range(50)}
    asked: set[Address] = set()
    for block in range(100, 107):
        contract = Contract({holder: ROUNDED["down"](each * RAY) for holder, each in scaled.items()}, block)
        await balances_of(contract, [(TOKEN, holder) for holder in scaled], scaled, RAY)
        assert len(contract.asked) == SAMPLE
        asked |= set(contract.asked)
    assert asked == set(scaled)


async def test_a_token_that_contradicts_its_units_is_asked_for_everybody() -> None:
    scaled = {account(number): 10**18 for number in range(50)}
    balances = dict.fromkeys(scaled, 2 * 10**18)
    found = await balances_of(Contract(balances), [(TOKEN, holder) for holder in scaled], scaled, RAY)
    assert set(found.values()) == {2 * 10**18}


async def indexed(reader: PinnedReader, chain: Devnet) -> tuple[Any, dict[str, dict[Address, int]]]:
    """Return the adapter, and what its books say."""
    aave = adapter(
        Deployment(addresses_provider=Address(chain.deployment.aave.addresses_provider)),
        chain_id=chain.deployment.chain_id,
        assets={},
    )
    found = await discover(aave, reader, start_block=0)
    told = await aave.holdings(reader, found.known, found.holders)
    books = {
        book.name: dict[Address, int]() for book in await aave.books(reader, found.known) if book.total is not None
    }
    for holder, units in zip(found.holders, told, strict=True):
        if units and holder.book in books:
            books[holder.book][holder.account] = units
    return aave, books


@pytest.mark.chain
async def test_aave_is_read_alike_with_an_index_and_without_after_a_year_of_interest(
    chain, pin, reader, everyone
) -> None:
    for _ in range(2):
        pinned = await pin()
        aave, books = await indexed(pinned, chain)
        before = reader.endpoints()[0].traffic.calls
        plain = await aave.read(pinned, everyone)
        between = reader.endpoints()[0].traffic.calls
        assert await aave.read(pinned, everyone, books) == plain
        assert len(plain.silos) >= 15
        assert reader.endpoints()[0].traffic.calls - between < between - before
        chain.anvil.advance_time(365 * 86_400)
        chain.anvil.mine()


@pytest.mark.chain
async def test_units_of_another_account_do_not_pass(chain, pin, everyone, user) -> None:
    pinned = await pin()
    aave, books = await indexed(pinned, chain)
    honest = await aave.read(pinned, everyone, books)
    for units in books.values():
        for holder in units:
            units[holder] *= 2
    assert await aave.read(pinned, everyone, books) == honest
