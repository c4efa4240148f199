"""What joining two accounts may cost: nothing of what may be lost, but for a hedge that a liquidation takes away."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.assess import AssessmentBatch, assess
from aggregator.margin.add_ons import factor_add_on
from aggregator.margin.unified import account_margins
from aggregator.parameters import Parameters
from riskschema.arrays import FactorTerms
from riskschema.portfolio import Silo

PAIRS = 15
CREDIT = (
    {"ETH": 1e5, "USDC": -1e4},
    {"USDC": 1e5, "ETH": -3e4},
)
"""A long and a short of ether in two venues, dollars of each, far from liquidation: half of the hedge is credited."""
FRAIL = {"CRV": 2e4, "USDC": -1.55e4}
"""Liquidated on many of the days on which tokens fall."""


def silo(lab: Any, ledger: dict[str, float], ident: str, chain_id: int = 1) -> Silo:
    units = {name: usd / lab.assets[name][2] for name, usd in ledger.items()}
    return lab.lending(units, ident=ident, deployment=ident, chain_id=chain_id)


def random_silos(lab: Any, random: np.random.Generator, name: str) -> list[Silo]:
    """One to three silos on two chains, long or short of a token, near to liquidation or far from it."""
    silos = []
    for place in range(random.integers(1, 4)):
        size, share = 10.0 ** random.uniform(2, 5), random.choice([0.0, 0.3, 0.6, 0.78])
        token, dollar = str(random.choice(["BTC", "ETH", "LINK", "CRV"])), str(random.choice(["USDC", "DAI"]))
        held, owed = (token, dollar) if random.random() < 0.5 else (dollar, token)
        ledger = {held: size, owed: -share * size} if share else {held: size}
        silos.append(silo(lab, ledger, f"{name}{place}", int(random.choice([1, 10]))))
    return silos


def joined(lab: Any, parameters: Parameters, pairs: list[tuple[list[Silo], list[Silo]]]) -> AssessmentBatch:
    """Assess one account, another, and both as one; and so on."""
    accounts = [silos for one, other in pairs for silos in (one, other, one + other)]
    portfolios = [lab.portfolio(*silos, number=number) for number, silos in enumerate(accounts)]
    return assess(portfolios, lab.market(), parameters)


def dollars(batch: AssessmentBatch, column: Any) -> np.ndarray:
    """An account column in dollars, shape (pairs, 3): one, other, both."""
    coarse = np.frombuffer(batch.positions.account_coarseness.data, dtype=np.int32)
    return np.ldexp(column.astype(np.float64), coarse - 29).reshape(-1, 3)


def costs(amounts: np.ndarray) -> np.ndarray:
    """What joining costs, as a share of what the two need alone."""
    apart = amounts[:, 0] + amounts[:, 1]
    return (amounts[:, 2] - apart) / apart


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=4)
def test_siloed_and_net_requirements_are_sub_additive_and_unified_is_where_no_hedge_is_liquidated(
    lab, parameters, seed: int
) -> None:
    random = np.random.default_rng(seed)
    pairs = [(random_silos(lab, random, "a"), random_silos(lab, random, "b")) for _ in range(PAIRS)]
    batch = joined(lab, parameters, pairs)
    found = batch.measures.margins
    siloed = dollars(batch, found.siloed)
    assert costs(siloed) == pytest.approx(0, abs=1e-6)
    assert costs(dollars(batch, found.net)).max() < 1e-6
    assert (dollars(batch, found.unified)[:, 2] <= (siloed[:, 0] + siloed[:, 1]) * (1 + 1e-6)).all()
    nowhere = np.zeros_like(batch.measures.touches.touched)
    standing = account_margins(batch.positions, batch.arrays, nowhere, parameters)
    assert costs(dollars(batch, standing.unified)).max() < 1e-6


def test_a_silo_that_is_liquidated_in_the_tail_may_cost_the_others_a_part_of_their_credit(lab, parameters) -> None:
    """By design: the hedge is counted as far as it stands. It is never more than the credit."""
    hedged = [silo(lab, ledger, name) for ledger, name in zip(CREDIT, ("long", "short"), strict=True)]
    batch = joined(lab, parameters, [(hedged, [silo(lab, FRAIL, "frail")])])
    unified, siloed = (dollars(batch, getattr(batch.measures.margins, name)) for name in ("unified", "siloed"))
    credit = siloed[0, 0] - unified[0, 0]
    cost = unified[0, 2] - unified[0, 0] - unified[0, 1]
    assert 0 < cost <= credit


@given(
    st.floats(1.0, 1e10),
    st.floats(1.0, 1e10),
    st.builds(
        FactorTerms,
        factor=st.just("X"),
        half_spread=st.floats(0, 0.05),
        impact_per_usd=st.floats(0, 1e-6),
        shortfall=st.floats(0, 1),
        scenario_range=st.just(0.3),
        hourly_volume=st.floats(1e3, 1e9),
        confidence=st.floats(0, 0.05),
        break_cost=st.just(0.0),
        static_share=st.just(0.1),
        flags=st.just(()),
    ),
)
def test_add_ons_grow_faster_than_size(parameters, one: float, other: float, terms: FactorTerms) -> None:
    """By design: twice as much is harder to sell. So the whole requirement is sub-additive without them only."""
    alone, beside, both = (factor_add_on(size, terms, parameters).total for size in (one, other, one + other))
    assert both >= (alone + beside) * (1 - 1e-12) - 6
