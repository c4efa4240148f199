"""Lines of the hourly table that begin later than it: until then they repeat their first close, flat and filled."""

from __future__ import annotations

from aggregator.exact.buffers import view64
from aggregator.parameter_tables import Proxy
from aggregator.parameters import Parameters
from riskschema.market import HourlyHistory


def first_own_hour(history: HourlyHistory, index: int, parameters: Parameters) -> int:
    """Return how many hours at the beginning of a line nobody observed; 0 for one that begins with the table.

    A line that is said to have filled hours begins late when it does not move for longer than the warm-up.
    """
    if history.factors[index] not in history.filled:
        return 0
    close, high, low = (view64(side)[index] for side in (history.close, history.high, history.low))
    moved = (high != close[0]) | (low != close[0])
    flat = int(moved.argmax()) if moved.any() else close.size
    return flat if flat > parameters.volatility.warm_up_hours else 0


def own_weight(hours: int, model: Proxy) -> float:
    """Return the share of the variance that a factor's own hours make, the rest being its group's."""
    return hours / (hours + model.prior_hours) if hours >= model.fewest_hours else 0.0
