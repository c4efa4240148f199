"""The parameter file: whole, hashed, and strict."""

from __future__ import annotations

import hashlib
import re
from operator import attrgetter
from pathlib import Path

import msgspec
import pytest

from aggregator.consistency import WHOLE_PARTS
from aggregator.exact.units import whole_parts
from aggregator.parameters import DEFAULT_PATH, load_parameters, parse_parameters
from aggregator.valuation.arrays import build_arrays
from riskschema.errors import InvalidData
from riskschema.instruments import Option


def test_the_hash_is_that_of_the_files_bytes(parameters) -> None:
    assert parameters.hash == "0x" + hashlib.sha256(DEFAULT_PATH.read_bytes()).hexdigest()
    assert parameters.model_version == 2


def test_another_file_has_another_hash(tmp_path: Path, parameters) -> None:
    other = tmp_path / "parameters.toml"
    other.write_bytes(DEFAULT_PATH.read_bytes() + b"\n")
    assert load_parameters(other).hash != parameters.hash


def test_every_number_has_its_reason_beside_it() -> None:
    for section in re.split(r"\n(?=\[)", DEFAULT_PATH.read_text()):
        assert "#" in section or section.startswith(("[probability.grades]", "[regime.thresholds]")), section


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("forecast_share = 0.9 ", "forcast_share = 0.75", "forcast_share"),
        ("forecast_share = 0.9 ", "", "forecast_share"),
        ("forecast_share = 0.9 ", "forecast_share = 1.5", r"shortfall\.forecast_share"),
        ("forecast_share = 0.9 ", "forecast_share = nan", r"shortfall\.forecast_share"),
        ("model_version = 2", "model_version = 'one'", "model_version"),
        ("[horizon]", "[horizon", "line"),
        ("forecast_share = 0.9 ", "forecast_share = 0.7505", r"shortfall\.forecast_share: 0\.7505 .* rounded silently"),
        ("long_run_floor = 0.5", "long_run_floor = 0.1234", r"shortfall\.long_run_floor"),
        ("net = 0.02 ", "net = 0.0205 ", r"delta_floor\.net"),
        ("hedged = 0.01", "hedged = 0.0101", r"delta_floor\.hedged"),
        ("hedged = 0.01", "hedged = 0.03", r"delta_floor\.hedged"),
        ("within_chain = 0.5", "within_chain = 0.33333", r"offsets\.within_chain"),
        ("across_chains = 0.25", "across_chains = 0.33333", r"offsets\.across_chains"),
        ("maintenance_share = 0.8", "maintenance_share = 0.80000001", r"margin\.maintenance_share"),
        ("BBB = 10000", "BBB = 3000", r"probability\.grades: bounds must grow"),
        ("BB = 30000\n", "BB = 100001\n", r"probability\.grades: bounds must grow"),
        ("C = 1000000", "C = 999999", r"probability\.grades\.C"),
        ("CCC = 300000\n", "", "CCC"),
        ("published_floor_ppm = 3000", "published_floor_ppm = 3001", r"probability\.published_floor_ppm"),
        ("unfollowed_floor_ppm = 300001", "unfollowed_floor_ppm = 300000", r"probability\.unfollowed_floor_ppm"),
        ("joint_moves = [0, -1, 1,", "joint_moves = [0, 1, 1,", r"grid\.joint_moves: a move is there twice"),
        ("joint_parts = 3", "joint_parts = 2", r"grid\.joint_moves: a move beyond"),
        ("joint_moves = [0, -1, 1, -2, 2, -3, 3]", "joint_moves = []", r"grid\.joint_moves: is empty"),
        ("stablecoin = 0.006", "stablecoin = 0.06", r"volatility\.default_annual\.stablecoin"),
        ("btc = [0.44, 1.14, 2.33]", "btc = [0.44, 0.44, 2.33]", r"regime\.thresholds\.btc"),
        ('name = "CRV",', 'name = "LDO",', r"factors: a name is there twice"),
        ("stream = 7 }", "stream = 8 }", r"factors: two share a stream"),
        ('underlying = "BTC"', 'underlying = "XBT"', r"factors: WBTC is pegged to XBT, which is not listed"),
        (
            '"RETH", group = "eth", stream = 43, underlying = "ETH"',
            '"RETH", group = "eth", stream = 43, underlying = "STETH"',
            r"factors: RETH has a peg of its own to STETH, which",
        ),
        ('underlying = "DAI" }', 'underlying = "ETH" }', r"factors: SDAI is exchanged for ETH, which has no peg"),
        ('name = "may_2021_rebound"', 'name = "may_2021"', r"stress\.crises: a name is there twice"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key_named(old: str, new: str, message: str) -> None:
    text = DEFAULT_PATH.read_text()
    assert old in text
    document = text.replace(old, new, 1)
    with pytest.raises(InvalidData, match=message):
        parse_parameters(document.encode(), what="parameters.toml")


def test_a_file_without_crises_is_refused() -> None:
    document = re.sub(r"crises = \[.*?\n\]", "crises = []", DEFAULT_PATH.read_text(), flags=re.DOTALL)
    with pytest.raises(InvalidData, match="crises"):
        parse_parameters(document.encode(), what="parameters.toml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="nowhere"):
        load_parameters(tmp_path / "nowhere.toml")


def test_every_share_that_kernels_count_in_whole_parts_is_exact(parameters) -> None:
    for path, scale in WHOLE_PARTS.items():
        share = attrgetter(path)(parameters)
        assert whole_parts(share, scale) / scale == share
    for share in (0.0005, 0.3333, 0.9999):
        with pytest.raises(ValueError, match=str(share)):
            whole_parts(share, 1000)
    assert [whole_parts(thousandths / 1000, 1000) for thousandths in range(1001)] == list(range(1001))


CHANGES = {
    "volatility_quartile = 3": "volatility_quartile = 0",
    "reference_parts_per_hour = 6": "reference_parts_per_hour = 5",
    "largest_log_move = 40.0": "largest_log_move = 0.02",
    "joint_parts = 3": "joint_parts = 4",
    "joint_moves = [0, ": "joint_moves = [",
    "against_others_divisor = 3.0": "against_others_divisor = 1.0",
    "reference_tenor_days = 30.0": "reference_tenor_days = 20.0",
    "largest_fall = 0.99": "largest_fall = 0.2",
    "shortest_tenor_days = 1.0": "shortest_tenor_days = 25.0",
    "smallest_volatility_factor = 0.05": "smallest_volatility_factor = 1.0",
    "smallest_volatility = 0.01": "smallest_volatility = 3.0",
    "skew_reach = 1.0": "skew_reach = 0.01",
    "largest_mean = 0.99": "largest_mean = 0.0",
    "smallest_eigenvalue = 1e-6 ": "smallest_eigenvalue = 0.9 ",
    "smallest_own_share = 0.3 ": "smallest_own_share = 1.0 ",
    "volatility_multiplier = 1.5 ": "volatility_multiplier = 1.6 ",
    "daily_volatility = 0.0001": "daily_volatility = 0.0006",
    "usual_discount = 0.0012": "usual_discount = 0.0022",
    "discount_volatility = 0.037": "discount_volatility = 0.047",
    "warm_up_hours = 168": "warm_up_hours = 24",
    "z = 3.0 ": "z = 4.0 ",
}
"""Numbers that were once written in the code."""


@pytest.fixture(scope="module")
def columns_of(lab):
    item = Option(
        venue="o:1:main",
        market="m",
        underlying="ETH",
        quote="USD",
        right="put",
        strike=lab.wad(2600),
        expiry=1_700_000_000 + 86_400 * 20,
    )
    table = lab.history(["BTC", "ETH", "LINK", "CRV", "DAI"], 24 * 30)
    table = msgspec.structs.replace(table, factors=("BTC", "ETH", "LINK", "XRP", "ADA"))
    large = [msgspec.structs.replace(lab.market().quote("LINK"), factor=name) for name in ("XRP", "ADA", "SOL")]
    measured = lab.market(table)
    markets = (lab.market(), msgspec.structs.replace(measured, quotes=(*measured.quotes, *large)))
    names = ("BTC", "ETH", "LINK", "CRV", "USDC")
    young = msgspec.structs.replace(lab.token("LINK"), factor="SOL")

    def build(document: str) -> bytes:
        chosen = document.replace("maximum_blocks = 1100", "maximum_blocks = 100")
        chosen = chosen.replace("minimum_history_hours = 8760", "minimum_history_hours = 500")
        found = parse_parameters(chosen.encode(), what="parameters.toml")
        held = [item, *(lab.token(name) for name in names)]
        built = [build_arrays(held, [], markets[0], found), build_arrays([*held, young], [], markets[1], found)]
        return b"".join(each.market.mantissas.data for each in built)

    return build


def test_numbers_that_change_results_are_in_the_hashed_file(columns_of) -> None:
    document = DEFAULT_PATH.read_text()
    before = columns_of(document)
    unchanged = [old for old, new in CHANGES.items() if columns_of(document.replace(old, new, 1)) == before]
    assert all(old in document for old in CHANGES)
    assert unchanged == []
