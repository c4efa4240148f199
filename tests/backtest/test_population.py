"""Accounts of a population become portfolios that are liquidatable exactly at their distance."""

import json

import numpy as np
import pytest

from backtest.outcomes import HOURS, Ratios, touched
from backtest.population import Pledge, Population, debt_value, exposures, group_of, portfolio, tokens, with_tokens
from riskschema.codec import decode_json
from riskschema.errors import InvalidData
from riskschema.portfolio import WeightedCollateral
from riskschema.units import WAD, Wad

LONG = Pledge(collateral={"ETH": 1.0}, debt={"USD": 1.0}, distance=0.1)
SHORT = Pledge(collateral={"USD": 1.0}, debt={"ETH": 1.0}, distance=0.1)
PAIR = Pledge(collateral={"BTC": 1.0}, debt={"ETH": 1.0}, distance=0.1)
DOCUMENT = {
    "collateral_usd": 20_000,
    "threshold": 0.8,
    "accounts": [
        {"name": "a", "kind": "long", "silos": [{"collateral": {"ETH": 1}, "debt": {"USD": 1}, "distance": 0.1}]}
    ],
}
FACTORS = ("BTC", "ETH")


def population(**changes: object) -> Population:
    return decode_json(json.dumps(DOCUMENT | changes).encode(), Population, what="population")


def flat(btc: float, eth: float) -> Ratios:
    lines = np.repeat([[btc], [eth]], HOURS, axis=1)
    return Ratios(lines, lines, lines)


@pytest.mark.parametrize(
    ("silo", "day", "expected"),
    [
        (LONG, flat(1.0, 0.901), False),
        (LONG, flat(1.0, 0.899), True),
        (SHORT, flat(1.0, 1.099), False),
        (SHORT, flat(1.0, 1.101), True),
        (PAIR, flat(0.899, 1.0), True),
        (PAIR, flat(0.8, 0.8), False),
    ],
)
def test_a_silo_is_touched_just_beyond_its_distance(silo: Pledge, day: Ratios, expected: bool) -> None:
    assert touched(silo, population(), day, FACTORS).joint is expected


def test_a_pair_whose_prices_swing_together_is_touched_only_when_each_counts_at_its_own_worst() -> None:
    one = np.ones((2, HOURS))
    found = touched(PAIR, population(), Ratios(one, 1.06 * one, 0.94 * one), FACTORS)
    assert (found.joint, found.apart) == (False, True)


def test_exposures_are_what_is_held_less_what_is_owed() -> None:
    assert exposures(PAIR, population(), FACTORS).tolist() == [20_000.0, -debt_value(PAIR, population())]
    assert exposures(SHORT, population(), FACTORS)[1] == pytest.approx(-16_000 / 1.1)


def test_the_portfolio_holds_and_owes_those_values_at_the_prices_of_the_day() -> None:
    accounts = with_tokens(population(), FACTORS)
    prices = {"ETH": Wad(2_500 * WAD), "BTC": Wad(50_000 * WAD)}
    found = portfolio(0, accounts[0], population(), prices)
    held, owed = found.silos[0].positions
    assert int(held.quantity) == 8 * WAD
    assert int(owed.quantity) / WAD == pytest.approx(-16_000 * 0.9)
    assert [account.kind for account in accounts] == ["long", "token", "token"]
    assert len(portfolio(1, accounts[1], population(), prices).silos[0].positions) == 1


def test_oracles_answer_at_every_move_as_the_labels_of_outcomes_do() -> None:
    silo = portfolio(0, with_tokens(population(), FACTORS)[0], population(), {"ETH": Wad(2_500 * WAD)}).silos[0]
    assert isinstance(silo.rule, WeightedCollateral)
    assert [term.oracle and term.oracle.deviation for term in silo.rule.terms] == [Wad(0), Wad(0)]


def test_an_account_without_prices_is_left_out_and_a_population_without_any_is_refused() -> None:
    assert tokens(with_tokens(population(), ("BTC", "ETH"))[0]) == {"ETH"}
    with pytest.raises(InvalidData, match="no account"):
        with_tokens(population(), ("BTC",))


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 1.5},
        {"accounts": []},
        {"accounts": [DOCUMENT["accounts"][0], DOCUMENT["accounts"][0]]},  # type: ignore[index]
        {
            "accounts": [
                {
                    "name": "a",
                    "kind": "long",
                    "silos": [{"collateral": {"ETH": 0.5}, "debt": {"USD": 1}, "distance": 0.1}],
                }
            ]
        },
    ],
)
def test_a_population_that_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidData):
        population(**changes)


def test_unknown_tokens_are_in_the_most_cautious_group() -> None:
    assert [group_of(name) for name in ("BTC", "ETH", "SOL", "ZZZ")] == ["btc", "eth", "large", "other"]
