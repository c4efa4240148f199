"""Equity at full mark, now: exact where a price times a quantity is the value, from the arrays for everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aggregator.exact.units import MANTISSA_BITS, USD_UNIT, Coarseness
from aggregator.rule_terms import Cash, RowInstrument
from aggregator.valuation.money import floor_shift
from riskschema.instruments import Claim, Debt, Token
from riskschema.portfolio import USD
from riskschema.units import WAD, Usd, Wad

_USD_DIGITS = 10
"""Digits between a price in 10^-18 and a dollar amount in 10^-8."""
CASH_DECIMALS = 18


def silo_equity(
    holdings: Sequence[tuple[RowInstrument, int]],
    array_values: Sequence[int],
    coarse: Coarseness,
    prices: Mapping[str, Wad],
) -> Usd:
    """Return the value of a silo's positions, rounded down to 10^-8 dollars.

    Args:
        holdings: Instruments and signed quantities in base units.
        array_values: Per holding lots times mantissa of the base column: what stands in for an instrument whose value
            is no plain product (liquidity, options, perpetuals), within 10^-8 of its size.
        coarse: The account's.
        prices: US dollars per whole unit by factor.
    """
    total = 0
    for (instrument, quantity), value in zip(holdings, array_values, strict=True):
        exact = plain_value(instrument, quantity, prices)
        total += floor_shift(value * USD_UNIT, MANTISSA_BITS - coarse) if exact is None else exact
    return Usd(total)


def plain_value(instrument: RowInstrument, quantity: int, prices: Mapping[str, Wad]) -> int | None:
    """Return quantity times price in 10^-8 dollars, rounded down; None where the value is more than that."""
    match instrument:
        case Token():
            factor, decimals = instrument.factor, instrument.decimals
        case Claim() | Debt():
            factor, decimals = instrument.token.factor, instrument.token.decimals
        case Cash():
            factor, decimals = instrument.factor, CASH_DECIMALS
        case _:
            return None
    price = WAD if factor == USD else prices[factor]
    scale: int = 10 ** (decimals + _USD_DIGITS)
    return quantity * price // scale
