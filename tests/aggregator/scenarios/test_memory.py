"""The model's memory: the same whether computed in one go or hour by hour."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from aggregator.exact.buffers import column, view64
from aggregator.scenarios.memory import decode_memory, encode_memory, step_memory
from riskschema.errors import InvalidData
from riskschema.market import Group, HourlyHistory

GROUPS: dict[str, Group] = {"ETH": "eth", "BTC": "btc", "CRV": "other"}


def first(history: HourlyHistory, hours: int) -> HourlyHistory:
    columns = {name: column(view64(getattr(history, name))[:, :hours], "int64") for name in ("close", "high", "low")}
    return msgspec.structs.replace(history, **columns)


def flat(prices: list[float]) -> HourlyHistory:
    line = column(np.array([[round(price * 1e12) for price in prices]]), "int64")
    return HourlyHistory(first_hour=0, factors=("BTC",), close=line, high=line, low=line, simulated=True)


def test_hour_by_hour_equals_in_one_go_to_the_last_bit(lab, parameters) -> None:
    history = lab.history(["ETH", "BTC", "CRV"], 300)
    whole = step_memory(None, history, GROUPS, parameters)
    memory = None
    for hours in (1, 2, 50, 51, 299, 300):
        memory = step_memory(memory, first(history, hours), GROUPS, parameters)
    assert memory is not None
    assert encode_memory(memory) == encode_memory(whole)


def test_a_table_cut_at_the_front_continues_the_same(lab, parameters) -> None:
    history = lab.history(["ETH"], 300)
    parent = step_memory(None, first(history, 200), GROUPS, parameters)
    columns = {name: column(view64(getattr(history, name))[:, 150:], "int64") for name in ("close", "high", "low")}
    cut = msgspec.structs.replace(history, first_hour=history.first_hour + 150 * 3600, **columns)
    assert step_memory(parent, cut, GROUPS, parameters) == step_memory(parent, history, GROUPS, parameters)


def test_a_round_without_a_new_hour_changes_nothing(lab, parameters) -> None:
    history = lab.history(["ETH"], 100)
    memory = step_memory(None, history, GROUPS, parameters)
    assert step_memory(memory, history, GROUPS, parameters) == memory


def test_the_variance_is_the_textbook_recursion(lab, parameters) -> None:
    history = lab.history(["CRV"], 100)
    (found,) = step_memory(None, history, GROUPS, parameters).factors
    weight = 0.5 ** (1 / parameters.volatility.half_life_hours)
    variance = parameters.volatility.default_annual.other**2 / 8760
    for move in np.diff(np.log(view64(history.close)[0].astype(float))):
        variance = weight * variance + (1 - weight) * move**2
    assert found.variance == pytest.approx(variance, rel=1e-12)
    assert found.regime == 0


def swings(annual: float, hours: int, start: float = 40_000.0) -> list[float]:
    move = annual / math.sqrt(8760)
    return [start * math.exp(move * (index % 2)) for index in range(hours)]


def test_a_regime_rises_at_once_and_falls_only_after_a_day_below(parameters) -> None:
    calm = step_memory(None, flat(swings(0.2, 400)), GROUPS, parameters)
    assert calm.regime == "calm"
    wild = flat(swings(0.2, 400) + swings(3.5, 100))
    stressed = step_memory(calm, wild, GROUPS, parameters)
    assert stressed.regime == "stressed"
    seen: list[str] = [stressed.regime]
    prices = swings(0.2, 400) + swings(3.5, 100)
    memory = stressed
    for _ in range(400):
        prices.append(prices[-1])
        memory = step_memory(memory, flat(prices), GROUPS, parameters)
        if memory.regime != seen[-1]:
            seen.append(memory.regime)
    assert seen[0] == "stressed"
    assert seen[-1] == "calm"
    assert seen.index("calm") == len(seen) - 1


@pytest.mark.parametrize(
    ("regime", "volatility", "later"), [("turbulent", 1.3, 1.08), ("stressed", 2.6, 2.2)], ids=["turbulent", "stressed"]
)
def test_a_regime_is_kept_between_its_threshold_and_the_level_at_which_it_is_left(
    regime: str, volatility: float, later: float, parameters
) -> None:
    memory = step_memory(None, flat(swings(volatility, 600)), GROUPS, parameters)
    assert memory.regime == regime
    between = flat(swings(volatility, 600) + swings(later, 600))
    assert step_memory(memory, between, GROUPS, parameters).regime == regime


def test_a_factor_that_is_moved_to_a_group_without_regimes_leaves_its_regime(parameters) -> None:
    wild = step_memory(None, flat(swings(3.0, 400)), GROUPS, parameters)
    assert wild.factors[0].regime > 0
    moved = step_memory(wild, flat(swings(3.0, 401)), {"BTC": "stablecoin"}, parameters)
    assert (moved.factors[0].regime, moved.regime) == (0, "calm")


def test_the_level_at_which_a_regime_is_left_is_that_of_its_own_threshold(parameters) -> None:
    """Bitcoin is turbulent from 1.14 and normal from 0.44: at 0.95 it is well below the first, far above the second."""
    turbulent = step_memory(None, flat(swings(1.3, 600)), GROUPS, parameters)
    assert turbulent.regime == "turbulent"
    fallen = flat(swings(1.3, 600) + swings(0.95, 1200))
    assert step_memory(turbulent, fallen, GROUPS, parameters).regime == "normal"


def test_a_table_with_a_hole_or_other_factors_is_refused(lab, parameters) -> None:
    history = lab.history(["ETH"], 100)
    memory = step_memory(None, history, GROUPS, parameters)
    later = msgspec.structs.replace(history, first_hour=history.first_hour + 3600 * 200)
    with pytest.raises(InvalidData, match="does not reach"):
        step_memory(memory, later, GROUPS, parameters)
    with pytest.raises(InvalidData, match="other factors"):
        step_memory(memory, lab.history(["BTC"], 100), GROUPS, parameters)


def test_a_network_without_history_starts_from_the_groups_default(lab, parameters) -> None:
    empty = first(lab.history(["ETH", "CRV"], 1), 0)
    memory = step_memory(None, empty, {}, parameters)
    assert len(memory.factors) == 2
    grown = step_memory(memory, empty, {}, parameters)
    assert grown == memory


def test_memory_survives_the_way_to_bytes_and_back(lab, parameters) -> None:
    memory = step_memory(None, lab.history(["ETH", "BTC"], 100), GROUPS, parameters)
    document = encode_memory(memory)
    assert decode_memory(document, what="state") == memory
    assert len(document) < 400


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"regime":', b'"regime": ', "canonical"),
        (b'"regime":', b'"regime":9', "impossible"),
        (b'"until":', b'"unto":', "unto"),
    ],
)
def test_bytes_that_are_no_memory_are_refused(lab, parameters, old: bytes, new: bytes, message: str) -> None:
    document = encode_memory(step_memory(None, lab.history(["ETH"], 100), GROUPS, parameters))
    with pytest.raises(InvalidData, match=message):
        decode_memory(document.replace(old, new), what="state")
