"""What a node sees of the market: sources from settings, and rounds that go on without the prices that nobody has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

import adapters.markets
from adapters.markets import source_names
from attest.formats.leaf import AccountLeaf, decode_leaf
from devnet.prices import read_prices, set_prices
from node.loop.rounds import run_rounds
from node.loop.stopping import StopRequest
from node.round.node import Node
from node.round.observing import market_sources
from node.settings import MarketSettings
from riskschema.assessment import Assessment
from riskschema.codec import decode_json
from riskschema.errors import InvalidData, TransientError
from riskschema.flags import flags_of
from riskschema.instruments import FactorId
from riskschema.market import MarketReading
from riskschema.units import Address
from tests.node.local_node import LocalNode, certified_rounds

FEED = {"factor": "ETH", "address": "0x" + "11" * 20}
CHAINLINK: dict[str, Any] = {"source": "chainlink", "chain_id": 1, "feeds": [FEED]}
HEARTBEAT = 3_600
ONE_FILE = '''
"""Prices from a file: the whole of a new source."""

from pathlib import Path

import msgspec

from riskschema.market import FactorQuote, MarketReading
from riskschema.units import WAD, Wad

SOURCE = "price_file"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: str
    factors: tuple[str, ...]


def source(settings, *, chains):
    return PriceFile(settings)


class PriceFile:
    def __init__(self, settings):
        self._path = Path(settings.path)
        self.name = SOURCE
        self.factors = frozenset(settings.factors)

    async def read(self):
        prices = msgspec.json.decode(self._path.read_bytes())
        return MarketReading(
            quotes=tuple(
                FactorQuote(factor=name, price=Wad(prices[name] * WAD), confidence=Wad(WAD), sources=(SOURCE,))
                for name in sorted(self.factors)
            )
        )
'''


@pytest.fixture
def one_more_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put one file where sources are looked for, and nothing else."""
    folder = tmp_path / "one_more"
    folder.mkdir()
    (folder / "price_file.py").write_text(ONE_FILE)
    monkeypatch.setattr(adapters.markets, "__path__", [*adapters.markets.__path__, str(folder)])


@pytest.mark.parametrize(
    ("market", "named"),
    [
        ({}, r"\[\[market.sources\]\] is missing"),
        ({"sources": [{"chain_id": 1}]}, r"sources\[0\]: source is missing"),
        ({"sources": [{"source": 7}]}, r"sources\[0\]: source is missing"),
        ({"sources": [{"source": "chainlonk"}]}, "unknown market source 'chainlonk'; known: chainlink"),
        ({"sources": [CHAINLINK, CHAINLINK | {"chain_id": "x"}]}, r"sources\[1\] \(chainlink\): .*chain_id"),
        ({"sources": [CHAINLINK | {"feeds": [FEED | {"group": "eth"}]}]}, r"sources\[0\] \(chainlink\): .*group"),
        ({"sources": [CHAINLINK | {"chain_id": 2}]}, r"sources\[0\] \(chainlink\): no .* chain_id 2"),
    ],
)
def test_settings_that_cannot_be_right_are_refused_by_name(market: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidData, match=named):
        market_sources(msgspec.convert(market, MarketSettings), {1: None})  # type: ignore[dict-item]


@pytest.mark.usefixtures("one_more_source")
def test_a_source_is_found_by_its_file_and_configured_by_its_own_struct(tmp_path: Path) -> None:
    table = {"source": "price_file", "path": str(tmp_path / "prices.json"), "factors": ["ETH"]}
    assert source_names() == ("chainlink", "price_file")
    (source,) = market_sources(MarketSettings(sources=(table,)), {})
    assert (source.name, source.factors) == ("price_file", frozenset({"ETH"}))
    with pytest.raises(InvalidData, match=r"sources\[0\] \(price_file\): .*pfad"):
        market_sources(MarketSettings(sources=(table | {"pfad": 1},)), {})


@pytest.mark.chain
@pytest.mark.usefixtures("one_more_source")
async def test_a_node_quotes_through_a_source_that_is_one_new_file(local: LocalNode, tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text('{"ETH": 2345}')
    table = {"source": "price_file", "path": str(tmp_path / "prices.json"), "factors": ["ETH"]}
    given = local.settings.market
    market = msgspec.structs.replace(given, sources=(table, *given.sources))
    local.settings = msgspec.structs.replace(local.settings, market=market)
    async with local.open() as node:
        await certified_rounds(node, 1)
        assert node.recent_values["ETH"] == 2345 * 10**18
        assert node.recent_sources["ETH"] == ("price_file",)
        assert node.recent_sources["BTC"][0].startswith("chainlink:")


def answer_all_but(local: LocalNode, *stale: str) -> None:
    """Let every feed answer anew except some."""
    prices = {symbol: price for symbol, price in read_prices(local.devnet).items() if symbol not in stale}
    set_prices(local.devnet, prices, arbitrage=False)


def pass_time(local: LocalNode, seconds: int) -> None:
    local.clock.time += seconds
    local.devnet.anvil.mine_at(int(local.clock.time))


async def flags_by_account(node: Node, round_number: int) -> dict[Address, tuple[set[str], set[str]]]:
    """Return, per account of a round, the flags of its signed leaf and the factors it is exposed to."""
    found = {}
    for account in await node.store.accounts(node.config_digest, round_number):
        leaf = decode_leaf(account.leaf)
        assert isinstance(leaf, AccountLeaf)
        assessment = decode_json(account.assessment, Assessment, what="assessment")
        names = {str(flag) for flag in flags_of(leaf.flags)}
        held = {line.factor for line in assessment.explanation if line.factor is not None}
        found[account.subject] = (names, held)
    return found


@pytest.mark.chain
async def test_one_stale_feed_is_stale_for_those_who_hold_it_and_costs_nobody_else_the_round(
    local: LocalNode,
) -> None:
    pass_time(local, HEARTBEAT - 100)
    answer_all_but(local, "WBTC")
    async with local.open() as node:
        (fresh,) = await certified_rounds(node, 1)
        before = await flags_by_account(node, fresh.round)
        pass_time(local, 200)
        with capture_logs() as events:
            results = await certified_rounds(node, 2)
        flags = await flags_by_account(node, results[-1].round)
        exposition = node.metrics.exposition(local.clock.now()).decode()
        ready = node.status.ready(local.clock.now())
        set_prices(local.devnet, read_prices(local.devnet), arbitrage=False)
        (again,) = await certified_rounds(node, 1)
        after = await flags_by_account(node, again.round)

    holders = {account for account, (_, held) in flags.items() if "BTC" in held}
    stale = {account for account, (names, _) in flags.items() if "quote_stale" in names}
    assert 0 < len(holders) < len(flags)
    assert holders <= stale < flags.keys()
    assert ready == ()
    assert 'plimsoll_unquoted{factor="BTC"} 1.0' in exposition
    told = [event for event in events if event["event"] == "no value"]
    assert [(event["factor"], event["reason"]) for event in told] == [("BTC", "market_unavailable")]
    assert "the heartbeat is 3600 s" in told[0]["detail"]
    assert not any("quote_stale" in names for names, _ in (*before.values(), *after.values()))


@pytest.mark.chain
async def test_a_feed_that_stays_silent_leaves_its_holders_unpriced_and_the_others_their_rounds(
    local: LocalNode,
) -> None:
    async with local.open() as node:
        await certified_rounds(node, 1)
        pass_time(local, HEARTBEAT + 700)
        answer_all_but(local, "WBTC")
        (result,) = await certified_rounds(node, 1)
        flags = await flags_by_account(node, result.round)
    unpriced = {account for account, (names, _) in flags.items() if "unpriced" in names}
    assert 0 < len(unpriced) < len(flags)


@pytest.mark.chain
async def test_with_once_feeds_that_are_all_stale_end_the_run_at_once_and_say_what_to_do(local: LocalNode) -> None:
    pass_time(local, HEARTBEAT + 10)
    begin = local.clock.time
    async with local.open() as node:
        with pytest.raises(InvalidData) as refusal:
            await run_rounds(node, StopRequest(), once=True)
    assert refusal.value.code == "market_unavailable"
    for factor in ("ETH", "BTC", "USDC"):
        assert f"feed of {factor} at 0x" in refusal.value.message
    assert "set heartbeat in [[market.sources.feeds]]" in refusal.value.message
    assert local.clock.time - begin <= 4  # not a second slot


class Failing:
    """A source whose server is gone."""

    name = "elsewhere"

    def __init__(self, *factors: FactorId) -> None:
        self.factors = frozenset(factors)

    async def read(self) -> MarketReading:
        raise TransientError("gone", code="endpoint_unreachable")


@pytest.mark.chain
async def test_a_source_that_fails_costs_only_what_no_other_source_quotes(local: LocalNode) -> None:
    async with local.open() as node:
        object.__setattr__(node, "sources", [Failing("ETH", "SOL"), *node.sources])
        await certified_rounds(node, 1)
        assert node.unquoted == {"SOL"}
        assert node.recent_sources["ETH"][0].startswith("chainlink:")


@pytest.mark.chain
async def test_sources_that_all_fail_are_an_abstention_that_may_pass(local: LocalNode) -> None:
    async with local.open() as node:
        object.__setattr__(node, "sources", [Failing("ETH"), Failing("BTC")])
        with pytest.raises(TransientError, match="no market source answers: elsewhere: gone") as refusal:
            await run_rounds(node, StopRequest(), once=True)
    assert refusal.value.code == "endpoint_unreachable"


@pytest.mark.chain
async def test_a_factor_of_the_committee_without_a_source_is_told_at_the_start_and_shown_in_every_round(
    local: LocalNode,
) -> None:
    (table,) = local.settings.market.sources
    feeds = [feed for feed in table["feeds"] if feed["factor"] != "BTC"]
    market = msgspec.structs.replace(local.settings.market, sources=({**table, "feeds": feeds},))
    local.settings = msgspec.structs.replace(local.settings, market=market)
    with capture_logs() as events:
        async with local.open() as node:
            await certified_rounds(node, 2)
            exposition = node.metrics.exposition(local.clock.now()).decode()
    (told,) = [event for event in events if event["event"] == "factors do not fit"]
    assert told["factors"] == ("BTC",)
    assert [event["factor"] for event in events if event["event"] == "no value"] == ["BTC"], "once, not every round"
    assert 'plimsoll_unquoted{factor="BTC"} 1.0' in exposition
    assert 'plimsoll_unquoted{factor="ETH"}' not in exposition
