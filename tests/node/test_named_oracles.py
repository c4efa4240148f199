"""What operators name of a venue's oracles: it fills what contracts did not tell, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from aggregator.venues import read_rule
from node.named_oracles import NamedOracle, with_named_oracles
from node.round.reading import ConfiguredVenue, configured_venues
from node.settings import load_settings
from riskschema.errors import InvalidData
from riskschema.portfolio import NoLiquidation, Silo, VenueOracle, VenueReading, WeightedCollateral
from riskschema.units import WAD, Wad
from tests.builders.borrowers import DOLLAR, MARKETS, STAKED, VENUE, silo

SETTINGS = f"""
[[chains]]
chain_id = 1
rpc_url = "http://127.0.0.1:1"

[[chains.assets]]
address = "{STAKED}"
factor = "WSTETH"

[[chains.assets]]
address = "{DOLLAR}"
factor = "USDC"

[[chains.venues]]
protocol = "morpho_blue"
singleton = "0x{"0a" * 20}"
markets = {MARKETS}
"""


def oracle_table(**fields: Any) -> str:
    lines = (f"{key} = {value if isinstance(value, int) else repr(str(value))}" for key, value in fields.items())
    return "\n".join(["\n[[chains.venues.oracles]]", *lines])


def venue(tmp_path: Path, *tables: str) -> ConfiguredVenue:
    path = tmp_path / "plimsoll.toml"
    path.write_text(SETTINGS + "".join(tables))
    (found,) = configured_venues(load_settings(path).chains[0])
    return found


def rule(each: Silo, named: tuple[NamedOracle, ...]) -> WeightedCollateral:
    (found,) = with_named_oracles(VenueReading(venue=VENUE, silos=(each,), unread=()), named).silos
    assert isinstance(found.rule, WeightedCollateral)
    return found.rule


def test_a_name_reaches_the_terms_of_its_asset_and_the_rule_row(tmp_path: Path) -> None:
    named = venue(
        tmp_path, oracle_table(asset=STAKED, kind="exchange_rate", deviation="0.02", heartbeat=86_400)
    ).oracles
    (completed,) = with_named_oracles(VenueReading(venue=VENUE, silos=(silo(),), unread=()), named).silos
    wanted = VenueOracle(kind="exchange_rate", deviation=Wad(WAD // 50), heartbeat=86_400)
    linear = read_rule(completed)
    assert linear is not None
    assert [term.row.oracle for term in linear.terms] == [wanted, None]


def test_what_a_contract_told_stays_and_a_name_fills_the_rest(tmp_path: Path) -> None:
    named = venue(tmp_path, oracle_table(asset=STAKED, kind="fixed", deviation="0.02", heartbeat=86_400)).oracles
    told = VenueOracle(kind="capped", age=77, heartbeat=3_600)
    term = rule(silo(told=told), named).terms[0]
    assert term.oracle == VenueOracle(kind="capped", age=77, deviation=Wad(WAD // 50), heartbeat=3_600)


def test_the_loan_assets_name_says_how_the_numeraire_is_seen_unless_the_contract_told(tmp_path: Path) -> None:
    named = venue(tmp_path, oracle_table(asset=DOLLAR, kind="fixed")).oracles
    assert rule(silo(), named).numeraire_oracle == "fixed"
    assert rule(silo(numeraire="market"), named).numeraire_oracle == "market"
    assert rule(silo(), named).terms[0].oracle is None


def test_a_name_for_one_market_comes_before_that_for_all(tmp_path: Path) -> None:
    everywhere, there = (
        oracle_table(asset=STAKED, kind="fixed"),
        oracle_table(asset=STAKED, kind="capped", market=MARKETS[1]),
    )
    for tables in ((everywhere, there), (there, everywhere)):
        named = venue(tmp_path, *tables).oracles
        kinds = [rule(silo(market), named).terms[0].oracle for market in MARKETS]
        assert kinds == [VenueOracle(kind="fixed"), VenueOracle(kind="capped")]


def test_without_a_name_nothing_changes(tmp_path: Path) -> None:
    reading = VenueReading(venue=VENUE, silos=(silo(), silo(told=VenueOracle(kind="fixed"))), unread=())
    assert with_named_oracles(reading, venue(tmp_path).oracles) is reading
    elsewhere = venue(tmp_path, oracle_table(asset=STAKED, kind="fixed", market=MARKETS[1])).oracles
    assert with_named_oracles(reading, elsewhere) == reading


def test_a_name_is_no_field_of_the_adapter_and_no_other_index(tmp_path: Path) -> None:
    plain, named = venue(tmp_path), venue(tmp_path, oracle_table(asset=STAKED, kind="fixed"))
    assert plain.table == named.table
    assert plain.deployment == named.deployment


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ([{"asset": "0x" + "99" * 20}], "oracles[0]: no [[chains.assets]] table maps asset 0x9999"),
        ([{"asset": STAKED, "market": "0x33"}], "oracles[0]: market 0x33 is none of the venue's"),
        ([{"asset": STAKED}, {"asset": STAKED, "kind": "fixed"}], "oracles[1]: asset 0x0000"),
        ([{"asset": STAKED, "kind": "chainlink"}], "$[0].kind"),
        ([{"asset": STAKED, "deviation": "1.5"}], "deviation must be between 0 and 1"),
        ([{"asset": STAKED, "heartbeat": 0}], "$[0].heartbeat"),
        ([{"asset": STAKED, "age": 5}], "`age`"),
        ([{"kind": "fixed"}], "`asset`"),
    ],
)
def test_a_name_that_means_nothing_is_refused_by_its_field(tmp_path: Path, tables: list[Any], told: str) -> None:
    with pytest.raises(InvalidData) as refused:
        venue(tmp_path, *(oracle_table(**table) for table in tables))
    assert told in refused.value.message
    assert "venues[0]" in refused.value.message


def test_a_silo_that_nothing_liquidates_has_no_oracle_to_name(tmp_path: Path) -> None:
    wallet = msgspec.structs.replace(silo(), rule=NoLiquidation())
    reading = VenueReading(venue=VENUE, silos=(wallet,), unread=())
    assert with_named_oracles(reading, venue(tmp_path, oracle_table(asset=STAKED, kind="fixed")).oracles) == reading
