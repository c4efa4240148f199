"""How much a silo decides: by its own debt, and never less because of another's."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.assess import assess
from aggregator.probability.score import touch_probability
from aggregator.probability.weights import joint_probability
from riskschema.portfolio import Portfolio, Position
from riskschema.units import Amount

CAREFUL = {"ETH": 10, "USDC": -14_500}
CARELESS = {"BTC": 0.003_2, "DAI": -99}
"""Of a debt of 99 dollars, and as often as one likes."""


@pytest.fixture(scope="module")
def score(lab, parameters):
    market = lab.market()

    def of(*silos) -> int:
        return assess([lab.portfolio(*silos)], market, parameters).assessments[0].score

    return of


def times(ledger: dict[str, float], factor: float) -> dict[str, float]:
    return {name: units * factor for name, units in ledger.items()}


def test_half_the_weight_is_half_of_the_probability_beyond_that_of_the_heavier_silos(lab, parameters) -> None:
    """The joint probability is that of an account whose light silo is twice as large: the same health, full weight."""
    half, careful = times(CARELESS, 50 / 99), lab.lending(CAREFUL, ident="careful")
    accounts = [
        lab.portfolio(careful, lab.lending(half, ident="careless")),
        lab.portfolio(careful, lab.lending(times(half, 2.001), ident="careless")),
        lab.portfolio(careful),
    ]
    mixed, together, alone = (
        int(item.liquidation_probability) for item in assess(accounts, lab.market(), parameters).assessments
    )
    assert together > 2 * alone > 10_000
    assert mixed == pytest.approx((together + alone) / 2, rel=1e-3)


def test_weights_may_be_equal_zero_and_in_any_order(parameters) -> None:
    model = parameters.probability
    single = touch_probability(110, 0.5, 1100, model)
    assert joint_probability([], [], [], 1100, model).probability == 0.0
    assert joint_probability([0], [0], [4.0], 1100, model).probability == 0.0
    assert joint_probability([10_000, 10_000], [110, 110], [0.5, 0.5], 1100, model).probability == single
    assert joint_probability([2_500, 10_000], [220, 110], [0.4, 0.5], 1100, model).probability == pytest.approx(0.125)
    assert joint_probability(
        [10_000, 0, 2_500], [110, 220, 220], [0.5, 0.4, 0.4], 1100, model
    ).probability == pytest.approx(0.125)


def test_a_debt_elsewhere_does_not_make_a_silo_negligible(lab, score) -> None:
    """Once 100,000 dollars owed in a safe silo turned one that is nearly liquidated into dust."""
    careless = lab.lending(CARELESS, ident="careless")
    safe = [lab.lending({"ETH": 1_000, "USDC": -debt}, ident="safe") for debt in (1, 1_000, 100_000, 200_000)]
    alone = score(careless)
    assert alone > 850
    assert all(score(careless, other) >= alone for other in safe)


def test_dust_decides_in_proportion_to_what_it_owes(lab, score) -> None:
    scores = [
        score(lab.lending(times(CARELESS, debt / 99)), lab.wallet({"ETH": 10}))
        for debt in (0.009, 0.105, 1.05, 10.5, 99)
    ]
    assert scores[0] == 0
    assert all(245 <= heavy - light <= 255 for light, heavy in pairwise(scores[1:4]))
    assert scores[-1] < score(lab.lending(times(CARELESS, 101 / 99)))


def test_a_debt_without_collateral_is_never_safe(lab, parameters, score) -> None:
    """A venue calls it liquidatable: certain from 100 dollars on, and as likely as it weighs below."""
    assert score(lab.lending({"USDC": -101})) == 1000
    assert score(lab.lending({"USDC": -31.7})) == 875
    assert score(lab.lending({"USDC": -31.7}), lab.lending({"ETH": 1_000, "USDC": -1_000_000}, ident="other")) >= 875
    accounts = [lab.portfolio(lab.lending({"USDC": -debt})) for debt in (99.905, 100.01)]
    nearly, fully = assess(accounts, lab.market(), parameters).assessments
    assert (nearly.grade, nearly.liquidation_probability) == ("C", 999_000)
    assert (fully.grade, fully.liquidation_probability) == ("D", 1_000_000)
    assert nearly.silos[0].liquidation_probability == fully.silos[0].liquidation_probability == 1_000_000


def test_a_silo_that_its_venue_calls_liquidatable_touches_every_path(lab, score) -> None:
    """Its own rule may see it elsewhere: another oracle, an unread bonus. The venue is believed."""
    assert score(lab.lending({"ETH": 1, "USDC": -10}, health=0.99)) == 750
    assert score(lab.lending({"ETH": 1, "USDC": -10})) == 0


def test_what_is_owed_under_a_rule_that_liquidates_nothing_is_unfollowed(lab, parameters) -> None:
    owed = Position(instrument=lab.lending({"ETH": 1, "USDC": -1}).positions[1].instrument, quantity=Amount(-1_000_000))
    found = assess([lab.portfolio(lab.wallet({"ETH": 10}, [owed]))], lab.market(), parameters).assessments[0]
    assert (found.grade, found.unread[0].code, found.flags) == (
        "C",
        "rule_not_implemented",
        ("history_short", "venue_unread"),
    )


def test_a_debt_whose_size_nobody_knows_weighs_in_full(lab, parameters) -> None:
    """One dollar of it is priced, and the venue says that it is liquidatable."""
    silo = lab.lending({"ETH": 1, "USDC": -1, "CRV": -1}, health=0.9)
    market = lab.market()
    priced = tuple(quote for quote in market.quotes if quote.factor != "CRV")
    market = type(market)(as_of=market.as_of, quotes=priced)
    assert assess([lab.portfolio(silo)], market, parameters).assessments[0].grade == "D"


ASSETS = ("BTC", "ETH", "LINK", "CRV", "USDC", "DAI")
Ledger = dict[str, float]


def random_account(random: np.random.Generator) -> list[Ledger]:
    """One to four silos: of dust or of fortunes, near to liquidation or far, some without collateral or debt."""
    ledgers = []
    for _ in range(random.integers(1, 5)):
        held, owed = random.permutation(len(ASSETS))[:2]
        size = 10.0 ** random.uniform(-1, 5)
        debt = size * random.choice([0.0, 0.3, 0.6, 0.78, 0.8, 0.82], p=[0.1, 0.1, 0.2, 0.3, 0.2, 0.1])
        backing = size * random.choice([1.0, 0.0], p=[0.9, 0.1])
        ledgers.append({ASSETS[held]: backing, ASSETS[owed]: -debt})
    return ledgers


def worse(ledgers: list[Ledger], random: np.random.Generator) -> list[Ledger]:
    """The same account with more debt or less collateral in one silo."""
    silo = random.integers(len(ledgers))
    changed = {}
    for name, dollars in ledgers[silo].items():
        if dollars < 0:
            changed[name] = dollars * random.choice([1.0, 1.001, 1.05, 3.0])
        else:
            changed[name] = dollars * random.choice([1.0, 0.999, 0.95, 0.3, 0.0])
    if not any(dollars < 0 for dollars in changed.values()):
        changed["DAI" if "DAI" not in changed else "USDC"] = -(10.0 ** random.uniform(-1, 3))
    return [*ledgers[:silo], changed, *ledgers[silo + 1 :]]


def portfolio(lab: Any, ledgers: list[Ledger], number: int) -> Portfolio:
    silos = [
        lab.lending({name: usd / lab.assets[name][2] for name, usd in ledger.items() if usd}, ident=str(place))
        for place, ledger in enumerate(ledgers)
    ]
    return lab.portfolio(*silos, number=number)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=6)
def test_more_debt_or_less_collateral_never_lowers_a_score(lab, parameters, seed: int) -> None:
    random = np.random.default_rng(seed)
    chains = []
    for _ in range(40):
        chain = [random_account(random)]
        for _ in range(4):
            chain.append(worse(chain[-1], random))
        chains.append(chain)
    steps = (step for chain in chains for step in chain)
    accounts = [portfolio(lab, ledgers, number) for number, ledgers in enumerate(steps)]
    found = iter(assess(accounts, lab.market(), parameters).assessments)
    for chain in chains:
        scores = [next(found).score for _ in chain]
        assert scores == sorted(scores), chain
