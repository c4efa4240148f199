"""docs/examples are complete, and their mainnet addresses are the ones they claim to be."""

import json
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from eth_abi.abi import encode
from jsonschema import Draft202012Validator

from adapters.markets import chainlink
from adapters.markets.chainlink import PriceFeed
from aggregator.parameters import load_parameters
from aggregator.scenarios.factors import listing
from attest.encoding.keccak import keccak256
from node.checksums import checksummed
from node.committee_file import load_agreement
from node.round.reading import configured_venues
from node.settings import load_settings
from riskschema.codec import decode_json, from_builtins
from riskschema.market import FactorQuote, MarketState
from riskschema.portfolio import Portfolio
from riskschema.units import Address, Wad

DOCS = Path(__file__).parents[2] / "docs"
MAINNET = DOCS / "examples" / "mainnet.toml"
CHAINLINK_FEEDS = Path(__file__).parents[1] / "data" / "chainlink_feeds.toml"
USDC, USDT = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "0xdAC17F958D2ee523a2206206994597C13D831ec7"
WETH, WBTC = "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", "0x2260FAC5E5542a773Aa44fBCfeDf7C193bc2C599"
WSTETH = "0x7f39C581F595B53c5cb19bD0b3f8dA6c935E2Ca0"
ADAPTIVE_CURVE = "0x870aC11D48B15DB9a138Cf899d20F13F79Ba00BC"
MARKETS = (
    (USDC, WBTC, "0xDddd770BADd886dF3864029e4B377B5F6a2B6b83", 86 * 10**16),
    (USDT, WBTC, "0x008bF4B1cDA0cc9f0e882E0697f036667652E1ef", 86 * 10**16),
    (USDC, WSTETH, "0x48F7E36EB6B826B2dF4B2E630B62Cd25e89E40e2", 86 * 10**16),
    (WETH, WSTETH, "0x2a01EB9496094dA03c4E364Def50f5aD1280AD72", 945 * 10**15),
)
"""Loan token, collateral, oracle and threshold, in the order of the example."""


def test_the_mainnet_settings_make_an_adapter_of_every_protocol() -> None:
    (chain,) = load_settings(MAINNET).chains
    assert [venue.venue for venue in configured_venues(chain)] == [
        "aave_v3:1:0x2f39d218133afab8f2b819b1066c7e434ad94e9e",
        "morpho_blue:1:0xbbbbbbbbbb9cc5e90e3b3af64bdaf62c37eeffcb",
        "uniswap_v3:1:0xc36442b4a4522e871399cd717abdd847ab11fe88",
        "wallet:1:balances",
    ]
    assert chain.chain_id == 1


def test_every_mainnet_token_has_a_price_and_every_feed_a_token() -> None:
    """Ether's feed prices stETH too, and bitcoin's WBTC: each is worth its underlying, and has a peg of its own."""
    settings = load_settings(MAINNET)
    feeds = {feed.factor for feed in mainnet_feeds()}
    quotes = tuple(FactorQuote(factor=name, price=Wad(1), group=settings.market.groups[name]) for name in sorted(feeds))
    known = listing(MarketState(as_of=0, quotes=quotes), load_parameters())
    followed = set[str]()
    for asset in settings.chains[0].assets:
        priced = asset.underlying or asset.factor
        assert known.worth(priced) is not None, asset.address
        followed |= set(known.legs(priced).moving)
    assert feeds <= followed
    assert followed - feeds == {"STETH / ETH", "WBTC / BTC"}
    assert feeds == settings.market.groups.keys()


def test_the_example_of_an_agreement_names_the_factors_of_the_mainnet_feeds() -> None:
    chosen = load_agreement(DOCS / "examples" / "agreement.toml")
    assert chosen.factors == tuple(sorted(feed.factor for feed in mainnet_feeds()))
    assert [each.chain_id for each in chosen.chains] == [1]


def mainnet_feeds() -> tuple[PriceFeed, ...]:
    (table,) = load_settings(MAINNET).market.sources
    assert table["source"] == chainlink.SOURCE
    own = {key: value for key, value in table.items() if key != "source"}
    return from_builtins(own, chainlink.Settings, what="market.sources[0]").feeds


def test_every_mainnet_feed_is_allowed_its_published_heartbeat_and_some_slack_but_not_much() -> None:
    published = {Address(feed["proxy"]): feed for feed in tomllib.loads(CHAINLINK_FEEDS.read_text())["feeds"]}
    for feed in mainnet_feeds():
        known = published[feed.address]
        assert known["pair"] == f"{feed.factor} / USD"
        longest = max(known["heartbeats"])
        assert 1.04 * longest <= feed.heartbeat <= 1.1 * longest, feed.factor
        assert feed.deviation == int(Decimal(known["deviation_percent"]) * 10**16), feed.factor


def test_every_mainnet_address_is_written_with_its_checksum() -> None:
    words = MAINNET.read_text().replace('"', " ").split()
    addresses = [word for word in words if word.startswith("0x") and len(word) == 42 and word != "0xADDRESS"]
    assert len(addresses) > 15
    assert all(checksummed(Address(address)) == address for address in addresses)


def test_every_morpho_market_id_is_the_hash_of_its_parameters() -> None:
    hashes = [
        "0x" + keccak256(encode(["address"] * 4 + ["uint256"], [loan, held, oracle, ADAPTIVE_CURVE, lltv])).hex()
        for loan, held, oracle, lltv in MARKETS
    ]
    venue = next(table for table in load_settings(MAINNET).chains[0].venues if table["protocol"] == "morpho_blue")
    assert venue["markets"] == hashes


@pytest.mark.parametrize(
    ("name", "kind", "schema"), [("portfolio", Portfolio, "portfolio"), ("market", MarketState, "market_state")]
)
def test_the_documents_follow_the_published_schema(name: str, kind: type, schema: str) -> None:
    content = (DOCS / "examples" / f"{name}.json").read_bytes()
    Draft202012Validator(json.loads((DOCS / "schema" / f"{schema}.json").read_text())).validate(json.loads(content))
    decode_json(content, kind, what=name)


def test_the_health_of_the_example_follows_from_its_terms() -> None:
    portfolio = decode_json((DOCS / "examples" / "portfolio.json").read_bytes(), Portfolio, what="portfolio")
    for silo in portfolio.silos:
        if silo.health is None:
            continue
        collateral = debt = 0.0
        for position, term in zip(silo.positions, silo.rule.terms, strict=True):
            token = getattr(position.instrument, "token", position.instrument)
            value = position.quantity / 10**token.decimals * term.price / 10**18
            collateral += max(value, 0.0) * term.weight / 10**18
            debt += max(-value, 0.0)
        assert silo.health / 10**18 == pytest.approx(collateral / debt, abs=1e-9)
