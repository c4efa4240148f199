"""What oracles follow, and what Aave v3.7 forbids, on recordings of contracts that no package has compiled.

`aave_v3_7`: a market of Aave v3.7 (aave-v3-origin, pool revision 11) whose prices come from Chainlink's
``EACAggregatorProxy`` and from the adapters of aave-capo and cl-synchronicity-price-adapter. `morpho_oracles`: markets
of Morpho Blue on ``MorphoChainlinkOracleV2``. All were compiled from their published sources and driven on the local
chain.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.protocols import load_protocol
from adapters.recording import ReplayReader, read_recording
from riskschema.codec import from_builtins
from riskschema.instruments import Claim, Debt
from riskschema.portfolio import Position, Silo, VenueReading, WeightedCollateral
from riskschema.units import WAD, Address

RECORDINGS = Path(__file__).parent / "recordings"
FALL_SECONDS = 904
"""Age of the ether feed's answer where Aave was recorded."""


async def replayed(name: str) -> VenueReading:
    recording = read_recording(RECORDINGS / f"{name}.json")
    module = load_protocol(recording.protocol)
    venue = module.adapter(
        from_builtins(recording.deployment, module.Deployment, what="the recording"),
        chain_id=recording.block.chain_id,
        assets={Address(address): factor for address, factor in recording.assets.items()},
    )
    return await venue.read(ReplayReader(recording), recording.accounts)


@pytest.fixture
async def aave() -> VenueReading:
    return await replayed("aave_v3_7")


@pytest.fixture
async def morpho() -> VenueReading:
    return await replayed("morpho_oracles")


def symbol(position: Position) -> str:
    instrument = position.instrument
    return str(instrument.token.symbol if isinstance(instrument, Claim | Debt) else getattr(instrument, "symbol", ""))


def followed(silos: tuple[Silo, ...]) -> dict[str, set[tuple[str, int] | None]]:
    """Return kinds and ages by symbol."""
    found: dict[str, set[tuple[str, int] | None]] = {}
    for silo in silos:
        for position, term in zip(silo.positions, getattr(silo.rule, "terms", ()), strict=False):
            told = term.oracle
            found.setdefault(symbol(position), set()).add(told and (told.kind, told.age))
    return found


async def test_price_caps_pairs_and_fixed_prices_of_aave_are_known_by_what_they_follow(aave) -> None:
    kinds = {name: {each and each[0] for each in told} for name, told in followed(aave.silos).items()}
    assert kinds == {
        "WETH": {"market"},  # a feed
        "wstETH": {"capped"},  # stETH's index under a cap, times ether
        "weETH": {"capped"},  # the index from a feed of it
        "WBTC": {"market"},  # WBTC / BTC times BTC / USD
        "USDC": {"market"},  # capped from above alone
        "USDe": {"exchange_rate"},  # priced by another dollar's feed
        "GHO": {"fixed"},
    }


async def test_ages_are_those_of_the_feed_behind_the_adapters(aave) -> None:
    told = followed(aave.silos)
    assert {told[name].pop() for name in ("WETH", "wstETH", "weETH")} == {
        ("market", FALL_SECONDS),
        ("capped", FALL_SECONDS),
    }
    assert told["GHO"] == {("fixed", 0)}


async def test_accounts_of_v3_7_are_read_whole_with_what_is_forbidden(aave) -> None:
    assert aave.unread == ()
    assert aave.aside == ()
    kinds = [sorted({each.kind for each in silo.restrictions}) for silo in aave.silos]
    assert kinds == [
        ["deficit", "frozen", "supply_capped"],
        ["supply_capped"],
        ["frozen"],
        ["grace_period", "no_liquidation"],
        ["deficit"],
        ["supply_capped"],
        ["supply_capped"],
    ]


async def test_in_v3_7_a_small_debt_is_repaid_whole_and_a_category_may_be_a_reserves_only_threshold(aave) -> None:
    """The pool itself, asked to take all it can, took 100 % of the debt of 1,800 dollars and 50 % of that of 20,000."""
    below = [silo for silo in aave.silos if silo.health is not None and silo.health < WAD]
    assert [silo.rule.close_factor for silo in below if isinstance(silo.rule, WeightedCollateral)] == [WAD, WAD // 2]
    [staked] = [
        term
        for silo in aave.silos
        for position, term in zip(silo.positions, getattr(silo.rule, "terms", ()), strict=False)
        if symbol(position) == "weETH"
    ]
    assert staked.weight == 95 * WAD // 100


async def test_morphos_oracle_is_what_its_vaults_and_feeds_say(morpho) -> None:
    assert morpho.unread == ()
    told = {
        (silo.market, symbol(position)): (term.oracle and term.oracle.kind, silo.rule.numeraire_oracle)
        for silo in morpho.silos
        if isinstance(silo.rule, WeightedCollateral)
        for position, term in zip(silo.positions, silo.rule.terms, strict=True)
        if position.quantity > 0
    }
    assert [(name, *follows) for (_, name), follows in told.items()] == [
        ("WETH", "market", "market"),
        ("wstETH", "market", "market"),  # rate, times what the market pays for stETH, over USDC / USD
        ("wstETH", "exchange_rate", "exchange_rate"),  # its rate alone, against WETH
        ("sUSDe", "exchange_rate", "exchange_rate"),  # a vault's conversion
        ("WBTC", "exchange_rate", "fixed"),  # BTC / USD, and a dollar token taken for a dollar
        ("USDe", "fixed", "fixed"),  # nothing at all
        ("WETH", "market", "market"),  # the local chain's own oracle, with parts of the same names
    ]
