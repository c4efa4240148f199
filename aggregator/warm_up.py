"""One small assessment that enters every kernel: after it nothing is left to compile."""

from __future__ import annotations

from array import array

from aggregator.assess import assess
from aggregator.exact.compilation import lacks_kernels, note_complete, progress
from aggregator.parameters import Parameters
from aggregator.scenarios.memory import step_memory
from riskschema.buffers import Column
from riskschema.instruments import Debt, Option, Token
from riskschema.market import FactorQuote, HourlyHistory, MarketState
from riskschema.portfolio import CollateralTerm, NoLiquidation, Portfolio, Position, Silo, WeightedCollateral
from riskschema.units import WAD, ZERO_ADDRESS, Amount, Wad

__all__ = ["enter_every_kernel", "lacks_kernels", "progress"]

_FACTORS = ("first", "second")
_DAY = 86_400


def enter_every_kernel(parameters: Parameters) -> None:
    """Compile the numeric kernels, or load them from the cache, by assessing an account that nobody has.

    Args:
        parameters: The parameter file: it says how much history is needed until history is used.
    """
    market = MarketState(
        as_of=_DAY,
        quotes=tuple(FactorQuote(factor=factor, price=Wad(1_000 * WAD)) for factor in _FACTORS),
        history=_history(parameters.paths.minimum_history_hours + parameters.volatility.warm_up_hours),
    )
    assess((_portfolio(),), market, parameters)
    assess((_portfolio(),), MarketState(as_of=_DAY, quotes=market.quotes), parameters)
    step_memory(None, _history(2), {}, parameters)
    note_complete()


def _history(hours: int) -> HourlyHistory:
    prices = array("q", ((1_000 + hour * step % 17) * 10**12 for step in (3, 5) for hour in range(hours)))
    column = Column(dtype="int64", shape=(len(_FACTORS), hours), data=prices.tobytes())
    return HourlyHistory(first_hour=0, factors=_FACTORS, close=column, high=column, low=column, simulated=True)


def _portfolio() -> Portfolio:
    first, second = (Token(chain_id=1, address=ZERO_ADDRESS, decimals=18, factor=factor) for factor in _FACTORS)
    debt = Debt(token=second, venue="none:1:none")
    option = Option(
        venue="none:1:none",
        market="",
        underlying="first",
        quote="USD",
        right="put",
        strike=Wad(900 * WAD),
        expiry=90 * _DAY,
    )
    price = Wad(1_000 * WAD)
    rule = WeightedCollateral(
        numeraire="USD",
        terms=(CollateralTerm(weight=Wad(WAD * 8 // 10), price=price), CollateralTerm(weight=Wad.one(), price=price)),
    )
    pledged = Silo(
        id="pledged",
        venue="none:1:none",
        chain_id=1,
        account=ZERO_ADDRESS,
        health=Wad(WAD),
        rule=rule,
        positions=(
            Position(instrument=first, quantity=Amount(10 * WAD)),
            Position(instrument=debt, quantity=Amount(-7 * WAD)),
        ),
    )
    hedge = Silo(
        id="hedge",
        venue="other:1:none",
        chain_id=1,
        account=ZERO_ADDRESS,
        health=None,
        rule=NoLiquidation(),
        positions=(
            Position(instrument=option, quantity=Amount(WAD)),
            Position(instrument=second, quantity=Amount(9 * WAD)),
        ),
    )
    return Portfolio(subject=ZERO_ADDRESS, silos=(pledged, hedge))
