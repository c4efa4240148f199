"""What stands behind a price, on contracts: feeds of the local chain, and strangers' that do what they can."""

from __future__ import annotations

from itertools import pairwise

import pytest

from adapters.oracles.sources import LARGEST_DEPTH, STRANGERS_GAS, Source, read_sources
from adapters.protocols import aave_v3, morpho_blue
from devnet.local_chain import Devnet
from riskschema.portfolio import VenueOracle
from riskschema.ports import ProtocolAdapter
from riskschema.units import Address, Hash32

pytestmark = pytest.mark.chain

STRANGER = Address("0x" + "57" * 20)
HOSTILE = {
    "reverts": "0x60006000fd",
    "runs out of gas": "0x5b600056",
    "floods": "0x62ffffff6000f3",
    "answers nothing": "0x00",
    "answers the largest number to everything": f"0x7f{'ff' * 32}8060005280602052806040528060605260805260a06000f3",
    "answers a little to everything": f"0x7f{1:064x}60005260a06000f3",
    "names itself": f"0x73{STRANGER[2:]}60005260206000f3",
}
"""Code of contracts. Two of them answer something like a round, so they pass for feeds that say nothing."""


def aave(chain: Devnet) -> ProtocolAdapter:
    deployment = aave_v3.Deployment(addresses_provider=Address(chain.deployment.aave.addresses_provider))
    return aave_v3.adapter(deployment, chain_id=chain.deployment.chain_id, assets={})


def morpho(chain: Devnet) -> ProtocolAdapter:
    deployed = chain.deployment.morpho
    deployment = morpho_blue.Deployment(
        singleton=Address(deployed.singleton), markets=tuple(Hash32(market.market_id) for market in deployed.markets)
    )
    return morpho_blue.adapter(deployment, chain_id=chain.deployment.chain_id, assets={})


async def sources(pin, *addresses: Address) -> dict[Address, Source]:
    return await read_sources(await pin(), addresses, gas=STRANGERS_GAS)


async def test_a_feed_says_what_it_prices_and_since_when(chain, pin) -> None:
    deployed = Address(chain.deployment.asset("WETH").feed)
    chain.send("PriceFeed", deployed, "setAnswer", 3_100 * 10**8, sender=chain.deployment.deployer)
    reader = await pin()
    [leg] = (await read_sources(reader, [deployed], gas=STRANGERS_GAS))[deployed].legs
    assert (leg.kind, leg.of, leg.per, leg.updated) == ("market", "WETH", "USD", reader.block.timestamp)


async def test_every_term_of_the_local_chain_knows_its_feed_and_the_age_of_its_answer(chain, pin, everyone) -> None:
    chain.anvil.advance_time(500)
    reader = await pin()
    ages = {
        asset.symbol: reader.block.timestamp - chain.call("PriceFeed", asset.feed, "latestRoundData")[3]
        for asset in chain.deployment.assets
    }
    for venue in (aave(chain), morpho(chain)):
        terms = [
            (position.instrument, term.oracle)
            for silo in (await venue.read(reader, everyone)).silos
            for position, term in zip(silo.positions, getattr(silo.rule, "terms", ()), strict=False)
        ]
        told = {(getattr(instrument, "token", instrument).symbol, oracle) for instrument, oracle in terms if oracle}
        assert told <= {(symbol, VenueOracle(kind="market", age=age)) for symbol, age in ages.items()}
        assert {symbol for symbol, _ in told} >= {"WETH", "WBTC"}
    assert min(ages.values()) >= 500


async def test_markets_see_what_they_quote_in_by_its_own_feed(chain, pin, everyone) -> None:
    rules = [silo.rule for silo in (await morpho(chain).read(await pin(), everyone)).silos]
    assert {rule.numeraire_oracle for rule in rules if hasattr(rule, "numeraire_oracle")} == {"market"}


@pytest.mark.parametrize("code", HOSTILE.values(), ids=HOSTILE)
async def test_a_strangers_contract_tells_nothing_and_costs_nobody_a_silo(chain, pin, everyone, code) -> None:
    """Named as a feed by the oracle of a market, whose price is what it was."""
    before = await morpho(chain).read(await pin(), everyone)
    market = chain.deployment.morpho.markets[0]
    parts = {name: chain.artifacts["FeedOracle"].call_data(name)[2:] for name in ("BASE_FEED_1", "price")}
    answers = {
        parts["BASE_FEED_1"]: int(STRANGER, 16),
        parts["price"]: chain.call("FeedOracle", market.oracle, "price")[0],
    }
    chain.anvil.rpc.request("anvil_setCode", market.oracle, dispatching(answers))
    chain.anvil.rpc.request("anvil_setCode", STRANGER, code)
    after = await morpho(chain).read(await pin(), everyone)

    assert (await sources(pin, STRANGER)).keys() <= {STRANGER}
    assert after.unread == before.unread == ()
    assert [(silo.id, silo.positions, silo.health) for silo in after.silos] == [
        (silo.id, silo.positions, silo.health) for silo in before.silos
    ]
    terms = [
        term for silo in after.silos if silo.market == market.market_id for term in getattr(silo.rule, "terms", ())
    ]
    assert terms
    assert {term.oracle for term in terms} <= {None, VenueOracle(kind="market")}


@pytest.mark.parametrize(("times", "kinds"), [(1, {"market"}), (2, {None})])
async def test_an_oracle_that_names_feeds_and_answers_another_price_is_unknown(chain, pin, everyone, times, kinds):
    market = chain.deployment.morpho.markets[0]
    names = ("BASE_FEED_1", "QUOTE_FEED_1", "SCALE_FACTOR", "price")
    words = {name: chain.call("FeedOracle", market.oracle, name)[0] for name in names}
    words = {name: int(word, 16) if isinstance(word, str) else word for name, word in words.items()}
    samples = ("BASE_VAULT_CONVERSION_SAMPLE", "QUOTE_VAULT_CONVERSION_SAMPLE")
    words |= {"price": times * words["price"]} | dict.fromkeys(samples, 1)
    selectors = {chain.artifacts["FeedOracle"].call_data(name)[2:]: word for name, word in words.items()}
    chain.anvil.rpc.request("anvil_setCode", market.oracle, dispatching(selectors))
    silos = (await morpho(chain).read(await pin(), everyone)).silos
    terms = [
        term
        for silo in silos
        if silo.market == market.market_id
        for position, term in zip(silo.positions, getattr(silo.rule, "terms", ()), strict=False)
        if position.quantity > 0
    ]
    assert terms
    assert {term.oracle and term.oracle.kind for term in terms} == kinds


def dispatching(answers: dict[str, int]) -> str:
    """Return code that answers a word per selector, and zero to everything else."""
    entry, otherwise, answer = 11, "60206000f3", 42  # bytes of a comparison, of the default, of a body
    code = "60003560e01c"
    first = len(code) // 2 + entry * len(answers) + len(otherwise) // 2
    for at, selector in enumerate(answers):
        code += f"8063{selector}1461{first + answer * at:04x}57"
    bodies = (f"5b7f{word:064x}60005260206000f3" for word in answers.values())
    return "0x" + code + otherwise + "".join(bodies)


async def test_contracts_that_stand_behind_each_other_without_end_are_not_followed(chain, pin) -> None:
    """Each names the next as both of its feeds."""
    chained = [Address(f"0x{0x5700 + at:040x}") for at in range(2 * LARGEST_DEPTH)]
    for here, following in pairwise(chained):
        chain.anvil.rpc.request("anvil_setCode", here, f"0x73{following[2:]}60005260206000f3")
    assert await sources(pin, chained[0]) == {}
