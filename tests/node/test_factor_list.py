"""One factor list: the parameter file's, what the settings add, and groups that contradict neither."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aggregator.assess import assess
from aggregator.parameters import Parameters, load_parameters
from node.factor_list import factor_faults, factor_groups, with_own_factors
from node.settings import MarketSettings, load_settings
from riskschema.errors import InvalidData
from riskschema.instruments import Token
from riskschema.market import FactorQuote, MarketState
from riskschema.portfolio import Portfolio, Position, Silo, VenueOracle, WeightedCollateral
from riskschema.units import WAD, Address, Amount, Wad
from tests.builders.borrowers import silo

CHAIN = '[[chains]]\nchain_id = 1\nrpc_url = "http://127.0.0.1:1"\n'
STAKED = {"name": "XSETH", "group": "eth", "stream": 1001, "underlying": "ETH", "peg": "staking", "parity": True}


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return load_parameters()


def market(tmp_path: Path, *factors: dict[str, Any], groups: dict[str, str] | None = None) -> MarketSettings:
    tables = []
    for factor in factors:
        written = (f"{key} = {json.dumps(value)}" for key, value in factor.items())
        tables.append("\n".join(["[[market.factors]]", *written]))
    tables.append("\n".join(["[market.groups]", *(f'{name} = "{group}"' for name, group in (groups or {}).items())]))
    path = tmp_path / "plimsoll.toml"
    path.write_text("\n".join([CHAIN, *tables]))
    return load_settings(path).market


def test_own_factors_are_behind_those_of_the_file_in_whatever_order_they_are_written(
    tmp_path: Path, parameters: Parameters
) -> None:
    other = {"name": "ABC", "stream": 1002}
    lists = [
        with_own_factors(parameters, market(tmp_path, *both)).factors for both in ((STAKED, other), (other, STAKED))
    ]
    assert lists[0] == lists[1]
    assert lists[0][: len(parameters.factors)] == parameters.factors
    assert [factor.name for factor in lists[0][len(parameters.factors) :]] == ["ABC", "XSETH"]
    assert lists[0][-2].group == "other"


def test_without_own_factors_the_parameters_are_those_of_the_file(tmp_path: Path, parameters: Parameters) -> None:
    assert with_own_factors(parameters, market(tmp_path)) == parameters


@pytest.mark.parametrize(
    ("factors", "told"),
    [
        ([STAKED | {"name": "RETH"}], "market.factors[0].name: RETH is listed already"),
        ([STAKED, STAKED | {"stream": 1002}], "market.factors[1].name: XSETH is listed already"),
        ([STAKED | {"stream": 5}], "market.factors[0].stream: 5 is that of SOL"),
        ([STAKED, STAKED | {"name": "B"}], "market.factors[1].stream: 1001 is that of XSETH"),
        ([STAKED | {"underlying": "ETHH"}], "market: factors: XSETH is pegged to ETHH, which is not listed"),
        ([STAKED | {"underlying": "STETH"}], "XSETH has a peg of its own to STETH, which has one too"),
        ([{"name": "A", "stream": 1001, "underlying": "ETH"}], "A is exchanged for ETH, which has no peg"),
    ],
)
def test_a_factor_that_cannot_be_right_is_refused_by_its_field(
    tmp_path: Path, parameters: Parameters, factors: list[dict[str, Any]], told: str
) -> None:
    with pytest.raises(InvalidData) as refused:
        with_own_factors(parameters, market(tmp_path, *factors))
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("factor", "told"),
    [
        (STAKED | {"group": "ether"}, "$.market.factors[0].group"),
        (STAKED | {"peg": "stakin"}, "$.market.factors[0].peg"),
        ({"name": "A"}, "`stream`"),
        (STAKED | {"decimals": 18}, "`decimals`"),
        ({"name": "A", "stream": 1001, "peg": "staking"}, "a peg needs an underlying"),
    ],
)
def test_a_factor_of_another_form_is_refused_when_the_settings_are_read(
    tmp_path: Path, factor: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidData) as refused:
        market(tmp_path, factor)
    assert told in refused.value.message


def test_groups_are_those_of_the_list_and_of_what_no_list_has(tmp_path: Path, parameters: Parameters) -> None:
    own = market(tmp_path, STAKED, groups={"PEPE": "large", "BTC": "btc"})
    listed = with_own_factors(parameters, own).factors
    groups = factor_groups(listed, own, quoted={"PEPE", "BTC"}, agreed=())
    assert {name: groups[name] for name in ("PEPE", "BTC", "XSETH", "USDC", "SOL")} == {
        "PEPE": "large",
        "BTC": "btc",
        "XSETH": "eth",
        "USDC": "stablecoin",
        "SOL": "large",
    }


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ({"PEEP": "large"}, "market.groups.PEEP: no source quotes it, and the factor list does not have it"),
        ({"BTC": "large"}, "market.groups.BTC: the factor list says btc, not large"),
        ({"PEPE": "large"}, "market.groups.PEPE: the committee does not agree on it, only on BTC, ETH"),
    ],
)
def test_a_wrong_name_in_the_groups_is_refused_by_its_entry(
    tmp_path: Path, parameters: Parameters, groups: dict[str, str], told: str
) -> None:
    with pytest.raises(InvalidData) as refused:
        factor_groups(parameters.factors, market(tmp_path, groups=groups), quoted={"PEPE"}, agreed=("BTC", "ETH"))
    assert refused.value.message == told


def test_a_pegged_factor_of_the_settings_has_its_risk_against_what_it_follows(
    tmp_path: Path, parameters: Parameters
) -> None:
    loop = _loop()
    quotes = tuple(FactorQuote(factor=name, price=Wad(3000 * WAD), group="eth") for name in ("ETH", "XSETH"))
    state = MarketState(as_of=1_700_000_000, quotes=quotes)
    portfolio = Portfolio(subject=Address("0x" + "a1" * 20), silos=(loop,))
    paths = {"maximum_blocks": 100, "minimum_history_hours": 1000}
    few = _few(parameters, paths)
    (pegged,) = assess((portfolio,), state, with_own_factors(few, market(tmp_path, STAKED))).assessments
    assert pegged.score > 0
    (line,) = [price for each in pegged.silos for price in each.liquidation_prices]
    assert line.factor == "XSETH / ETH"


def _few(parameters: Parameters, paths: dict[str, int]) -> Parameters:
    return msgspec.structs.replace(parameters, paths=msgspec.structs.replace(parameters.paths, **paths))


def _loop() -> Silo:
    base = silo(told=VenueOracle())
    held, owed = base.positions
    tokens = [
        Token(chain_id=1, address=Address(f"0x{number:040x}"), symbol=name, decimals=18, factor=name)
        for number, name in ((1, "XSETH"), (2, "ETH"))
    ]
    assert isinstance(base.rule, WeightedCollateral)
    price = Wad(3000 * WAD)
    terms = tuple(
        msgspec.structs.replace(term, price=price, weight=Wad(weight))
        for term, weight in zip(base.rule.terms, (94 * WAD // 100, WAD), strict=True)
    )
    positions = (
        Position(instrument=msgspec.structs.replace(held.instrument, token=tokens[0]), quantity=Amount(100 * WAD)),
        Position(instrument=msgspec.structs.replace(owed.instrument, token=tokens[1]), quantity=Amount(-93 * WAD)),
    )
    rule = msgspec.structs.replace(base.rule, numeraire="USD", terms=terms)
    return msgspec.structs.replace(base, rule=rule, positions=positions, health=Wad(94 * WAD // 93))


def test_what_the_committee_agrees_on_is_held_against_sources_list_and_own_factors(
    tmp_path: Path, parameters: Parameters
) -> None:
    settings = market(tmp_path, STAKED)
    listed = with_own_factors(parameters, settings).factors
    assert not factor_faults(listed, settings, quoted={"ETH", "BTC", "XSETH"}, agreed={"ETH", "XSETH"})
    assert not factor_faults(listed, settings, quoted=(), agreed=()), "any are agreed on"
    faults = factor_faults(listed, settings, quoted={"ETH"}, agreed={"ETH", "BTC", "NOBODYS"})
    assert [fault.factors for fault in faults] == [("BTC", "NOBODYS"), ("NOBODYS",), ("XSETH",)]
    assert len({fault.remedy for fault in faults}) == 3
