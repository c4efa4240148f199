"""An index held against the chain: what logs named all of it, of the rest as many ranges as are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

import node.index.verifying
from node.index.following import VenueIndex
from node.index.verifying import Verified, verify_logs
from riskschema.errors import InvalidData
from riskschema.units import Address
from storage.holder_index import Checkpoint, HolderIndex
from tests.builders.token_chain import START, TOKEN, NamedTokenVenue, TokenChain
from tests.node.index.test_following import index_file


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> TokenChain:
    """A token named early, and somebody who gets some in every eighth block."""
    monkeypatch.setattr(node.index.verifying, "RANGE_BLOCKS", 3)
    chain = TokenChain()
    chain.mine(4)
    chain.name_token()
    for number in range(1, 9):
        chain.give(number)
        chain.mine(7)
    return chain


async def verify(index: HolderIndex, chain: TokenChain, ranges: int | None) -> Verified:
    return await verify_logs(
        NamedTokenVenue(),
        index,
        chain,
        await chain.at(),
        start_block=START,
        ranges=ranges,
        watch=lambda _blocks: None,
    )


async def test_an_index_is_as_the_chain_says_wherever_its_ranges_ended(tmp_path: Path, chain: TokenChain) -> None:
    with index_file(tmp_path) as index:
        following = VenueIndex(NamedTokenVenue(), index, start_block=START)
        for number in (30, len(chain.blocks) - 1):
            await following.holders(chain, await chain.at(number))
        assert (await verify(index, chain, None)).logs == 8


@pytest.mark.parametrize("known", [{}, {"units": TOKEN, "more": TOKEN}])
async def test_whoever_leaves_out_or_adds_a_contract_is_found_out_whatever_ranges_are_drawn(
    tmp_path: Path, chain: TokenChain, known: dict[str, Address]
) -> None:
    with index_file(tmp_path) as index:
        index.append(Checkpoint(chain.tip.number, chain.tip.hash), known, [])
        with pytest.raises(InvalidData, match=f"named .* backfill --from {START}") as refused:
            await verify(index, chain, 0)
    assert refused.value.code == "index_unusable"


async def test_a_contract_is_named_where_the_chain_names_it(tmp_path: Path, chain: TokenChain) -> None:
    with index_file(tmp_path) as index:
        early, tip = chain.blocks[START].reference, chain.tip
        index.append(Checkpoint(early.number, early.hash), {"units": TOKEN}, [])
        index.append(Checkpoint(tip.number, tip.hash), {"units": TOKEN}, [])
        with pytest.raises(InvalidData, match=f"up to block {START} differs"):
            await verify(index, chain, 0)
