"""One wrong answer of a venue's oracle is a named stress column: a liquidation at prices that nobody trades at."""

from __future__ import annotations

import msgspec
import pytest

from aggregator.assess import assess
from aggregator.exact.buffers import view32
from aggregator.margin import wrong_answers
from aggregator.margin.wrong_answers import wrong_answer_costs
from riskschema.portfolio import VenueOracle

MOVES = (-0.0285, 0.0285, -0.1, 0.1)


def costs(lab, parameters, *silos) -> list[list[float]]:
    """Return dollars per silo and move."""
    batch = assess([lab.portfolio(*silos)], lab.market(), parameters)
    unit = 2.0 ** (int(view32(batch.positions.account_coarseness)[0]) - 29)
    return [
        [float(each) * unit for each in line] for line in wrong_answer_costs(batch.positions, batch.arrays, parameters)
    ]


def test_the_stress_columns_name_them(lab, small_parameters) -> None:
    batch = assess([lab.portfolio(lab.lending({"ETH": 10, "USDC": -13_000}))], lab.market(), small_parameters)
    assert batch.arrays.stress[-4:] == ("oracle -2.85%", "oracle +2.85%", "oracle -10.00%", "oracle +10.00%")
    assert small_parameters.oracles.wrong_answers == MOVES


def test_a_silo_far_from_liquidation_loses_nothing_and_one_near_it_what_liquidators_take(lab, small_parameters) -> None:
    """Ether at 1,800 instead of 2,000: 18,000·.8 = 14,400 against 15,000, so half of the debt is repaid, 5 % on top."""
    far = lab.lending({"ETH": 10, "USDC": -8_000}, ident="far")
    near = lab.lending({"ETH": 10, "USDC": -15_000}, ident="near", close_factor=0.5, bonus=0.05)
    found = costs(lab, small_parameters, far, near)
    assert found[0] == [0.0, 0.0, 0.0, 0.0]
    seized = 7_500 * 1.05 / 1_800 * 2_000
    assert found[1] == pytest.approx([0, 0, seized - 7_500, 7_500 * 1.1 * 1.05 - 7_500], rel=1e-6)


def test_a_loop_at_2_percent_loses_to_what_happened_to_wsteth_in_march_2026(lab, small_parameters) -> None:
    silo = lab.lending({"ETH": 10, "BTC": -0.392}, weight=0.8, bonus=0.01)
    low, high, *_ = costs(lab, small_parameters, silo)[0]
    assert float(silo.health) / 1e18 == pytest.approx(1.0204, abs=1e-4)
    assert low > 0, "the collateral's answer too low"
    assert high > 0, "the debt's answer too high"


def test_what_cannot_be_wrong_costs_nothing(lab, small_parameters) -> None:
    silo = lab.lending({"ETH": 10, "USDC": -15_500})
    terms = tuple(msgspec.structs.replace(term, oracle=VenueOracle(kind="fixed")) for term in silo.rule.terms)
    fixed = msgspec.structs.replace(silo, rule=msgspec.structs.replace(silo.rule, terms=terms))
    assert costs(lab, small_parameters, fixed) == [[0.0] * 4]
    assert max(costs(lab, small_parameters, silo)[0]) > 0


def test_who_is_liquidatable_already_loses_nothing_to_a_wrong_answer(lab, small_parameters) -> None:
    assert costs(lab, small_parameters, lab.lending({"ETH": 10, "USDC": -16_500})) == [[0.0] * 4]


def test_a_margin_can_be_what_a_wrong_answer_costs_and_its_parts_add_up(lab, small_parameters) -> None:
    """Two dollars that cannot break, in a quiet market: nothing else is at stake."""
    still = {"daily_volatility": 0.0, "discount_volatility": 0.0}
    dollars = msgspec.structs.replace(small_parameters.pegs.dollar, breaks=(-0.0001,), **still)
    pegs = msgspec.structs.replace(small_parameters.pegs, dollar=dollars, crises=())
    crises = msgspec.structs.replace(small_parameters.stress, crises=small_parameters.stress.crises[:1])
    chosen = msgspec.structs.replace(small_parameters, pegs=pegs, stress=crises)
    silo = lab.lending({"USDC": 100_000, "DAI": -94_000}, weight=0.95, bonus=0.04)
    (found,) = assess([lab.portfolio(silo)], lab.market(), chosen).assessments
    worst = max(costs(lab, chosen, silo)[0])
    assert worst > 1_000
    assert found.base_margin / 1e8 >= worst * (1 - chosen.shortfall.forecast_share) * (1 - 1e-6)
    assert sum(line.amount for line in found.explanation) == found.initial_margin
    rounding = sum(line.amount for line in found.explanation if line.kind == "rounding")
    assert abs(rounding) < 100


def test_the_kernels_equal_their_plain_twins(lab, small_parameters, plain_python) -> None:
    silos = [
        lab.lending({"ETH": 10, "LINK": 20, "USDC": -15_000 - n, "DAI": -100}, ident=str(n)) for n in (0, 300, 700)
    ]
    compiled = costs(lab, small_parameters, *silos)
    plain_python()
    assert not hasattr(wrong_answers.cost, "py_func")
    assert costs(lab, small_parameters, *silos) == compiled
