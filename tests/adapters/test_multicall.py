"""Calls through Multicall3: the same bytes as single calls, for a hundredth of what providers bill."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from eth_abi.abi import encode

from adapters.chains import Chain, EndpointOptions, open_chain
from adapters.chains.multicall import MULTICALL3, aggregated, separated
from adapters.protocols import aave_v3, morpho_blue, uniswap_v3
from devnet.local_chain import Devnet
from riskschema.errors import TransientError
from riskschema.ports import Call, CallReverted, CallSuccess
from riskschema.units import Address, Hash32

SOMEWHERE = Address("0x" + "5a" * 20)


@pytest.fixture
def deployed(chain: Devnet) -> Devnet:
    """The local chain with a contract of that interface where Multicall3 is on others."""
    rpc = chain.anvil.rpc
    creation = chain.artifacts["CallAggregator"].creation_code({})
    runtime = rpc.request("eth_call", {"data": creation, "gas": hex(10_000_000)}, "latest")
    rpc.request("anvil_setCode", str(MULTICALL3), runtime)
    chain.anvil.mine()
    return chain


@asynccontextmanager
async def opened(chain: Devnet, **options: Any) -> AsyncIterator[Chain]:
    endpoints = [EndpointOptions(url=chain.url)]
    async with open_chain(
        endpoints=endpoints, chain_id=chain.deployment.chain_id, finality="latest", **options
    ) as reader:
        yield reader


def billed(chain: Chain) -> int:
    return chain.endpoints()[0].traffic.calls


@pytest.mark.chain
async def test_every_venue_is_read_to_the_last_byte_as_by_single_calls(deployed: Devnet, everyone) -> None:
    chain_id, morpho = deployed.deployment.chain_id, deployed.deployment.morpho
    markets = tuple(Hash32(market.market_id) for market in morpho.markets)
    venues = [
        aave_v3.adapter(
            aave_v3.Deployment(addresses_provider=Address(deployed.deployment.aave.addresses_provider)),
            chain_id=chain_id,
            assets={},
        ),
        morpho_blue.adapter(
            morpho_blue.Deployment(singleton=Address(morpho.singleton), markets=markets), chain_id=chain_id, assets={}
        ),
        uniswap_v3.adapter(
            uniswap_v3.Deployment(position_manager=Address(deployed.deployment.uniswap.position_manager)),
            chain_id=chain_id,
            assets={},
        ),
    ]
    async with opened(deployed) as together, opened(deployed, multicall=False) as single:
        head = await single.head()
        for venue in venues:
            before = billed(together), billed(single)
            found = await venue.read(await together.pin(head), everyone)
            assert found == await venue.read(await single.pin(head), everyone)
            assert found.silos
            assert 3 * (billed(together) - before[0]) < billed(single) - before[1]


CODES = {
    "reverts": "0x60006000fd",
    "fails": "0xfe",
    "loops": "0x5b600056",
    "tells who asks": "0x3360005260206000f3",
    "tells the gas": "0x5a60005260206000f3",
}


@pytest.mark.chain
@pytest.mark.parametrize("name", ["reverts", "fails", "loops"])
async def test_what_fails_among_others_fails_as_it_would_alone(deployed: Devnet, everyone, name: str) -> None:
    deployed.anvil.rpc.request("anvil_setCode", str(SOMEWHERE), CODES[name])
    deployed.anvil.mine()
    token = Address(deployed.deployment.asset("USDC").token)
    good = [Call(token, bytes.fromhex("70a08231" + account[2:].rjust(64, "0"))) for account in everyone]
    bad = Call(SOMEWHERE, bytes.fromhex("70a08231"))
    calls = [*good[:5], bad, *good[5:], bad, Call(Address("0x" + "77" * 20), b"")]
    async with opened(deployed) as together, opened(deployed, multicall=False) as single:
        head = await single.head()
        answers = await (await together.pin(head)).call(calls)
        assert answers == await (await single.pin(head)).call(calls)
    assert isinstance(answers[5], CallReverted)
    assert answers[-1] == CallSuccess(b"")


@pytest.mark.chain
@pytest.mark.parametrize("name", ["tells who asks", "tells the gas"])
async def test_contracts_that_anyone_can_put_before_the_node_are_asked_by_themselves(
    deployed: Devnet, name: str
) -> None:
    deployed.anvil.rpc.request("anvil_setCode", str(SOMEWHERE), CODES[name])
    deployed.anvil.mine()
    calls = [Call(SOMEWHERE, b"", 200_000), Call(SOMEWHERE, b"\1", 200_000)]
    async with opened(deployed) as together, opened(deployed, multicall=False) as single:
        head = await single.head()
        assert await (await together.pin(head)).call(calls) == await (await single.pin(head)).call(calls)


@pytest.mark.chain
async def test_how_many_calls_of_a_function_go_together_is_learned(deployed: Devnet) -> None:
    # about 3.2 million gas: a loop until less than 0x30D400 less is left
    deployed.anvil.rpc.request("anvil_setCode", str(SOMEWHERE), "0x62030d405b6001900380600457600160005260206000f3")
    deployed.anvil.mine()
    calls = [Call(SOMEWHERE, b"\1\2\3\4" + number.to_bytes(32, "big")) for number in range(40)]
    async with opened(deployed) as together, opened(deployed, multicall=False) as single:
        head = await single.head()
        costs = []
        for _ in range(2):
            before = billed(together)
            answers = await (await together.pin(head)).call(calls)
            costs.append(billed(together) - before)
        assert answers == await (await single.pin(head)).call(calls)
    assert costs[1] < costs[0] < len(calls) + 20


def test_calls_and_results_have_the_bytes_of_the_abi() -> None:
    calls = [Call(Address(f"0x{number:040x}"), bytes(range(number))) for number in range(70)]
    expected = encode(["(address,bool,bytes)[]"], [[(str(call.to), True, call.data) for call in calls]])
    assert aggregated(calls).data == bytes.fromhex("82ad56cb") + expected
    results = [(number % 3 > 0, bytes(range(number))) for number in range(70)]
    answer = encode(["(bool,bytes)[]"], [results])
    assert separated(answer, 70, "x") == [data if success else None for success, data in results]


@pytest.mark.parametrize("cut", [0, 31, 64, 96, 200, -25])
def test_a_cut_or_foreign_answer_is_the_endpoints_failure(cut: int) -> None:
    answer = encode(["(bool,bytes)[]"], [[(True, b"abc"), (True, b"d" * 40)]])
    for broken in (answer[:cut], answer[:32] + b"\xff" * 32 + answer[64:], answer[:64] + b"\xff" * 32 + answer[96:]):
        with pytest.raises(TransientError) as refused:
            separated(broken, 2, "x")
        assert refused.value.code == "endpoint_malformed"
    with pytest.raises(TransientError):
        separated(answer, 3, "x")
