"""Equity at full mark, now: exact where a price times a quantity is the value, from the arrays for everything else."""

from __future__ import annotations

from collections.abc import Sequence

from aggregator.exact.units import MANTISSA_BITS, USD_UNIT, Coarseness
from aggregator.rule_terms import Cash, RowInstrument
from aggregator.scenarios.factors import Listing
from aggregator.valuation.money import floor_shift
from aggregator.valuation.pricing import decimals, only_asset
from riskschema.instruments import Claim, Debt, Token, WrappedToken
from riskschema.units import WAD, Usd

_USD_DIGITS = 10
"""Digits between a price in 10^-18 and a dollar amount in 10^-8."""


def silo_equity(
    holdings: Sequence[tuple[RowInstrument, int]],
    array_values: Sequence[int],
    coarse: Coarseness,
    known: Listing,
) -> Usd:
    """Return the value of a silo's positions, rounded down to 10^-8 dollars.

    Args:
        holdings: Instruments and signed quantities in base units.
        array_values: Per holding lots times mantissa of the base column: what stands in for an instrument whose value
            is no plain product (liquidity, options, perpetuals), within 10^-8 of its size.
        coarse: The account's.
        known: The factor list and the agreed prices.
    """
    total = 0
    for (instrument, quantity), value in zip(holdings, array_values, strict=True):
        exact = plain_value(instrument, quantity, known)
        total += floor_shift(value * USD_UNIT, MANTISSA_BITS - coarse) if exact is None else exact
    return Usd(total)


def plain_value(instrument: RowInstrument, quantity: int, known: Listing) -> int | None:
    """Return quantity times price in 10^-8 dollars, rounded down; None where the value is more than that."""
    asset = only_asset(instrument) if isinstance(instrument, Token | WrappedToken | Claim | Debt | Cash) else None
    worth = known.worth(asset) if asset is not None else None
    if worth is None:
        return None
    scale: int = WAD * 10 ** (decimals(instrument) + _USD_DIGITS)
    return quantity * worth.price * worth.units // scale
