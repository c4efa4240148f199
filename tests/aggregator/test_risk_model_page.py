"""docs/risk-model.md says what the engine does: its worked example is run, its table of units compared."""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from aggregator.assess import AssessmentBatch, assess, measure
from aggregator.exact import units
from aggregator.exact.buffers import view32
from aggregator.parameters import load_parameters
from node.cli import plimsoll
from riskschema.arrays import RiskArrays
from riskschema.codec import decode_json
from riskschema.market import MarketState
from riskschema.portfolio import Portfolio

PAGE = Path(__file__).parents[2] / "docs" / "risk-model.md"
EXAMPLES = PAGE.parent / "examples"
FILES = EXAMPLES / "three-silos.json", EXAMPLES / "three-silos-market.json"


def test_the_worked_example_is_what_the_command_prints() -> None:
    portfolio, market = FILES
    command = ["assess", "--portfolio", str(portfolio), "--market", str(market), "--json"]
    done = CliRunner().invoke(plimsoll, command, catch_exceptions=False)
    assert done.exit_code == 0
    parser, text = doctest.DocTestParser(), PAGE.read_text()
    batch = worked_example()
    names = {"found": json.loads(done.stdout), "multiplier": multiplier(batch), "variants": variants(batch.arrays)}
    names["crises"] = [msgspec.structs.asdict(crisis) for crisis in load_parameters().stress.crises]
    for crisis in names["crises"]:
        crisis.update(BTC=crisis["btc"], ETH=crisis["eth"], USDC=crisis["stablecoin"])
    example = parser.get_doctest(text, names, PAGE.name, str(PAGE), 0)
    assert len(example.examples) >= 20
    report: list[str] = []
    assert doctest.DocTestRunner().run(example, out=report.append).failed == 0, "".join(report)


def worked_example() -> AssessmentBatch:
    portfolio = decode_json(FILES[0].read_bytes(), Portfolio, what="portfolio")
    market = decode_json(FILES[1].read_bytes(), MarketState, what="market")
    return assess((portfolio,), market, load_parameters())


def multiplier(batch: AssessmentBatch) -> float:
    """Return how far the tenth-nearest path's moves must be stretched."""
    return float(measure(batch.positions, batch.arrays, load_parameters()).touches.joint_multiplier.min())


def variants(arrays: RiskArrays) -> list[list[dict[str, float]]]:
    """Return the block ends of the fitted, stressed and broken sets: per day, price over the price now by factor."""
    mantissas = view32(arrays.market.mantissas).astype(float)
    ratios = mantissas / mantissas[:, :1]
    names = [json.loads(key)["token"]["factor"] for key in arrays.market.keys]
    start = 1 + len(arrays.grid) + len(arrays.stress)
    sets = [ratios[:, start + place * arrays.blocks : start + (place + 1) * arrays.blocks] for place in range(3)]
    return [[dict(zip(names, day.tolist(), strict=True)) for day in one.T] for one in sets]


@pytest.fixture(scope="module")
def table() -> dict[str, tuple[str, str, str]]:
    """Return unit, type and bound of every row of the table of units."""
    section = PAGE.read_text().partition("### Units and quantisation")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {what.partition(":")[0]: (unit, kind, bound) for what, unit, kind, bound in rows[2:]}


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"2\^\(?(?:coarseness )?(-? ?\d+)\)?", text.replace("- ", "-"))]


def test_the_units_are_those_of_the_code(table) -> None:
    assert numbers(table["mantissa"][0]) == [-units.MANTISSA_BITS]
    assert numbers(table["lot of a row"][0]) == [-units.LOT_VALUE_BITS, 1 - units.LOT_VALUE_BITS]
    assert numbers(table["account value"][0]) == [-units.VALUE_BITS]
    assert numbers(table["limbs of a sum"][0]) == [units.LIMB_BITS]
    assert f"10^-{len(str(units.USD_UNIT)) - 1} dollars" == table["published amount"][0]
    assert table["share that kernels multiply by"][0] == "parts per thousand"
    assert units.PER_MILLE == 1_000
    assert table["probability, close factor, bonus"][0] == "parts per million"
    assert units.PER_MILLION == 1_000_000


def test_the_bounds_are_those_of_the_code(table) -> None:
    mantissa_bits = units.MANTISSA_LIMIT.bit_length() - 1
    start = units.MANTISSA_BITS - units.LOT_VALUE_BITS
    assert numbers(table["mantissa"][2]) == [mantissa_bits, start, start + 1]
    assert numbers(table["position"][2]) == [units.ACCOUNT_LOTS_BITS]
    assert numbers(table["account value"][2]) == [units.ACCOUNT_LOTS_BITS + mantissa_bits - units.LIMB_BITS]
    assert table["limbs of a sum"][2].endswith(f"every {units.POSITIONS_PER_FOLD} positions")
    assert table["lot of an account, or of a rule"][2].endswith(str(units.FINEST_COARSENESS))


def scalar(array: Any) -> str:
    """Return the name of the integers in an array type."""
    _, dtype = get_args(array)
    return np.dtype(get_args(dtype)[0]).name


def test_the_types_are_those_of_the_code(table) -> None:
    for what, kind in (("mantissa", units.MantissaArray), ("position", units.LotArray)):
        assert scalar(kind) == table[what][1]
    assert scalar(units.AccountValueArray) == table["account value"][1]
