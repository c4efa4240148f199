"""What is said of a user: how likely a liquidation is, and the smallest move within reach that makes one possible."""

from __future__ import annotations

from typing import Literal

import pytest

from node.local.introductions import outlook
from riskschema.assessment import Assessment, Grade, LiquidationPrice, SiloAssessment
from riskschema.units import Probability, Usd, Wad
from tests.builders import reports

PERCENT = 10**16
HEALTHY = Wad.one()


def price(
    factor: str, direction: Literal["fall", "rise"], percent: int, *, within_reach: bool = True
) -> LiquidationPrice:
    return LiquidationPrice(
        factor=factor,
        price=Wad((100 + percent) * PERCENT * 1000),
        direction=direction,
        distance=Wad(percent * PERCENT),
        within_reach=within_reach,
    )


def silo(venue: str, *prices: LiquidationPrice) -> SiloAssessment:
    return SiloAssessment(
        id=venue,
        venue=venue,
        chain_id=1,
        market="",
        health=Wad.one(),
        equity=Usd(0),
        distance=None,
        initial_margin=Usd(0),
        liquidation_probability=Probability(0),
        liquidation_prices=prices,
    )


def assessed(*silos: SiloAssessment, grade: Grade = "C", health: Wad | None = HEALTHY) -> Assessment:
    return reports.assessment(grade=grade, liquidation_probability=Probability(425_552), min_health=health, silos=silos)


def test_the_nearest_move_of_any_silo_is_told_with_its_venue() -> None:
    far = silo("aave_v3:1:main", price("ETH", "fall", -9))
    near = silo("morpho_blue:1:main", price("BTC", "fall", -20), price("ETH", "rise", 3))
    assert outlook(assessed(far, near)) == (
        "liquidation within 24 h: at most 42.6 %; possible on morpho_blue when ETH rises by 3.0%, to $1,030.00"
    )


def test_a_price_out_of_reach_is_not_told_however_near_it_seems() -> None:
    odd = silo("aave_v3:1:main", price("USDC", "rise", 4, within_reach=False), price("ETH", "fall", -9))
    assert "ETH falls by 9.0%" in outlook(assessed(odd))
    alone = silo("aave_v3:1:main", price("USDC", "rise", 4, within_reach=False))
    assert outlook(assessed(alone)).endswith("no price within reach makes one possible")


@pytest.mark.parametrize(
    ("grade", "health", "told"),
    [("A", None, "owes nothing, so that nothing can be liquidated"), ("D", Wad.one(), "can be liquidated now")],
)
def test_who_owes_nothing_and_who_is_past_it_are_told_so(grade: Grade, health: Wad | None, told: str) -> None:
    assert outlook(assessed(grade=grade, health=health)) == told
