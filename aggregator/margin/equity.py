"""Equity at full mark, now: exact where a price times a quantity is the value, from the arrays for everything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from aggregator.asked_once import AskedOnce
from aggregator.exact.units import MANTISSA_BITS, USD_UNIT, Coarseness
from aggregator.rule_terms import Cash, RowInstrument
from aggregator.scenarios.factors import Listing
from aggregator.valuation.money import floor_shift
from aggregator.valuation.pricing import decimals, only_asset
from riskschema.instruments import Claim, Debt, Token, WrappedToken
from riskschema.units import WAD, Usd

_USD_DIGITS = 10
"""Digits between a price in 10^-18 and a dollar amount in 10^-8."""


class PlainPrice(NamedTuple):
    """What one base unit is worth, in 10^-8 dollars: a fraction."""

    numerator: int
    denominator: int


PlainPrices = AskedOnce[RowInstrument, PlainPrice | None]
"""None where the value is no plain product of price and quantity."""


def plain_prices(known: Listing) -> PlainPrices:
    """Return the plain prices at the agreed prices of `known`."""
    return AskedOnce(lambda instrument: _plain_price(instrument, known))


def silo_equity(
    holdings: Sequence[tuple[RowInstrument, int]],
    array_values: Sequence[int],
    coarse: Coarseness,
    prices: PlainPrices,
) -> Usd:
    """Return the value of a silo's positions, rounded down to 10^-8 dollars.

    Args:
        holdings: Instruments and signed quantities in base units.
        array_values: Per holding lots times mantissa of the base column: what stands in for an instrument whose value
            is no plain product (liquidity, options, perpetuals), within 10^-8 of its size.
        coarse: The account's.
        prices: Of the instruments.
    """
    total = 0
    for (instrument, quantity), value in zip(holdings, array_values, strict=True):
        exact = plain_value(instrument, quantity, prices)
        total += floor_shift(value * USD_UNIT, MANTISSA_BITS - coarse) if exact is None else exact
    return Usd(total)


def plain_value(instrument: RowInstrument, quantity: int, prices: PlainPrices) -> int | None:
    """Return quantity times price in 10^-8 dollars, rounded down; None where the value is more than that."""
    price = prices[instrument]
    return None if price is None else quantity * price.numerator // price.denominator


def _plain_price(instrument: RowInstrument, known: Listing) -> PlainPrice | None:
    asset = only_asset(instrument) if isinstance(instrument, Token | WrappedToken | Claim | Debt | Cash) else None
    worth = known.worth(asset) if asset is not None else None
    if worth is None:
        return None
    return PlainPrice(worth.price * worth.units, WAD * 10 ** (decimals(instrument) + _USD_DIGITS))
