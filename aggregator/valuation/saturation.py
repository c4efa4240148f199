"""Which silos hold or owe something whose value leaves the arrays in some column, and to whose cost."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.exact.buffers import view8, view32, view64
from aggregator.exact.units import LOT_VALUE_BITS, MANTISSA_LIMIT
from riskschema.arrays import PositionTable, RiskArrays, RowTable
from riskschema.instruments import Claim, Debt, Instrument
from riskschema.units import WAD

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

DAYS_PER_YEAR = 365


class Cut(NamedTuple):
    """Per silo."""

    some: list[bool]
    """A row that it uses has values cut at the mantissa's limit."""
    against: list[bool]
    """A loss was cut: what is owed is worth more there, or what is held costs more, than the arrays say."""


def outgrows(instrument: Instrument) -> bool:
    """Tell whether a day's interest alone leaves the arrays: no rate that anybody means, whoever gains by it."""
    if not isinstance(instrument, Claim | Debt):
        return False
    return instrument.annual_rate >= ((MANTISSA_LIMIT >> LOT_VALUE_BITS) - 1) * DAYS_PER_YEAR * WAD


def cut_silos(table: PositionTable, arrays: RiskArrays) -> Cut:
    """Return which silos of `table` use rows of `arrays` that are cut, and which lose more there than is said."""
    market = _cut(arrays.market, view32(table.rows), view64(table.lots), view64(table.silo_positions))
    rule = _cut(arrays.rule, view32(table.term_rows), view64(table.term_lots), view64(table.silo_terms))
    return Cut(*((one | other).tolist() for one, other in zip(market, rule, strict=True)))


def _cut(table: RowTable, rows: NDArray[np.int32], lots: Ints, silos: Ints) -> tuple[Bools, Bools]:
    saturated, mantissas = view8(table.saturated) != 0, view32(table.mantissas)
    above, below = saturated.copy(), saturated.copy()
    for row in np.flatnonzero(saturated):
        above[row] = mantissas[row].max() == MANTISSA_LIMIT
        below[row] = mantissas[row].min() == -MANTISSA_LIMIT
    against = np.where(lots < 0, above[rows], below[rows])
    return _any(saturated[rows], silos), _any(against, silos)


def _any(marks: Bools, silos: Ints) -> Bools:
    """Return per silo whether one of its marks is set."""
    counts = np.concatenate([[0], np.cumsum(marks)])
    return np.asarray(counts[silos[1:]] > counts[silos[:-1]])
