"""What leaves the arrays is not known, and what is not known never reads as safe."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from aggregator.assess import assess
from riskschema.instruments import Perpetual
from riskschema.portfolio import MarginFraction, Position
from riskschema.units import WAD, Amount

HEALTHY = {"ETH": 10.0, "USDC": -200.0}
ABSURD = 1e6
"""A hundred million per cent a year: what is owed is 2,741 times as much tomorrow."""


def graded(lab: Any, parameters: Any, silo: Any, market: Any = None) -> tuple[str, bool, str]:
    found = assess([lab.portfolio(silo)], market or lab.market(), parameters).assessments[0]
    alone = "safe" if found.silos[0].liquidation_probability <= parameters.probability.published_floor_ppm else "unsafe"
    return found.grade, "saturated" in found.flags, alone


def moving(lab: Any, annual: float) -> Any:
    """A market in which CRV moves so much that some days leave the arrays."""
    quotes = [
        msgspec.structs.replace(quote, annual_volatility=lab.wad(annual)) if quote.factor == "CRV" else quote
        for quote in lab.market().quotes
    ]
    return msgspec.structs.replace(lab.market(), quotes=tuple(quotes))


def test_a_rate_that_no_array_holds_is_no_way_to_look_safe(lab, parameters) -> None:
    """Whoever gains by it: interest that multiplies a debt, or that covers one."""
    assert graded(lab, parameters, lab.lending(HEALTHY)) == ("A", False, "safe")
    owing, pledging = lab.lending(HEALTHY, rate=ABSURD), lab.lending(HEALTHY)
    claim = msgspec.structs.replace(pledging.positions[0].instrument, annual_rate=lab.wad(ABSURD))
    positions = (msgspec.structs.replace(pledging.positions[0], instrument=claim), pledging.positions[1])
    for silo in (owing, msgspec.structs.replace(pledging, positions=positions)):
        assert graded(lab, parameters, silo) == ("C", True, "unsafe")


def test_what_is_only_held_at_such_a_rate_is_flagged(lab, parameters) -> None:
    """Nothing is owed, so nothing can be liquidated."""
    assert graded(lab, parameters, lab.lending({"ETH": 10.0}, rate=ABSURD)) == ("A", True, "safe")


@pytest.mark.parametrize(
    ("ledger", "wanted"), [({"CRV": 1e6, "ETH": 10, "USDC": -500}, "A"), ({"USDC": 1e6, "CRV": -500}, "C")]
)
def test_a_price_that_leaves_the_arrays_hurts_who_owes_it_not_who_holds_it(
    lab, parameters, ledger: dict[str, float], wanted: str
) -> None:
    """A gain that is cut is a smaller gain; a loss that is cut is a loss of unknown size."""
    grade, flagged, _ = graded(lab, parameters, lab.lending(ledger), moving(lab, 9.0))
    assert (grade, flagged) == (wanted, True)


@pytest.mark.parametrize(("size", "wanted"), [(1, "A"), (-1, "C")])
def test_funding_that_leaves_the_arrays_hurts_who_pays_it(lab, parameters, size: int, wanted: str) -> None:
    """A long of one ETH at a negative rate, and a short, against a million dollars."""
    silo = lab.lending({"USDC": 1e6}, protocol="venue", rate=0)
    contract = Perpetual(
        venue=silo.venue, market="m", base="ETH", quote="USD", payoff="linear", annual_funding_rate=lab.wad(-ABSURD)
    )
    cash = Position(instrument=lab.token("USDC"), quantity=Amount(10**12))
    silo = msgspec.structs.replace(
        silo,
        health=lab.wad(100),
        rule=MarginFraction(
            numeraire="USD", entry_value=lab.wad(2_000 * size), fractions=(lab.wad("0.05"), lab.wad("0"))
        ),
        positions=(Position(instrument=contract, quantity=Amount(size * WAD)), cash),
    )
    grade, flagged, _ = graded(lab, parameters, silo)
    assert (grade, flagged) == (wanted, True)
