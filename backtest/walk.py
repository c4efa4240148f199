"""Walk forward day by day: forecasts from the hours before, outcomes from the hours after."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.parameters import Parameters
from backtest.engine import LEVEL, forecast, price_in_wad
from backtest.losses import expected_shortfall, tail, value_at_risk
from backtest.outcomes import account_touched, ratios
from backtest.plain_models import PlainModels, touch_formula
from backtest.population import DOLLAR, Account, Population, exposures, group_of, portfolio, tokens, with_tokens
from backtest.prices import DAY, HOUR, Prices
from riskschema.errors import InvalidData
from riskschema.market import FactorQuote, MarketState
from riskschema.units import Wad

Floats = NDArray[np.float64]
TAIL = 11
"""Losses kept of each day's tail: what the worst 1 % of three years of blocks holds."""
SINGLE = {"long", "short"}
YEAR_HOURS = 8_760

Progress = Callable[[int, int], None]


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """Forecasts and outcomes; arrays of shape (days, accounts) or (days, silos), NaN where the prices end."""

    accounts: tuple[Account, ...]
    """Those of the population, then a plain holding of each factor."""
    days: tuple[int, ...]
    """Unix time of each day's first hour."""
    loss: Floats
    """Realised over the day, dollars."""
    value_at_risk: Floats
    shortfall: Floats
    tails: NDArray[np.float32]
    """Shape (days, accounts, 11): forecast losses beyond the quantile over the shortfall."""
    historical: Floats
    """Quantile of plain historical simulation."""
    filtered: Floats
    """Quantile of the exponential average's filtered historical simulation."""
    unified: Floats
    """Unified base requirement."""
    net: Floats
    """Base requirement if all silos shared their collateral."""
    static: Floats
    """Fixed percentages of gross."""
    probability: Floats
    formula: Floats
    """Of accounts with one factor: the driftless touch formula."""
    climate: Floats
    """Share of the past days on which the account was touched."""
    joint: Floats
    """1 where the account was touched, lows and highs of an hour taken together."""
    apart: Floats
    """Likewise, each price at its own worst."""
    silo_loss: Floats
    silo_value_at_risk: Floats
    silo_shortfall: Floats
    silo_base: Floats
    silo_following: Floats
    """What the base would be without stress and floors."""
    silo_account: NDArray[np.int64]
    """Per silo, the account it belongs to."""
    volatility: Floats
    """Per day: median over the factors of the exponential average, per √hour."""
    past_quartiles: Floats
    """Shape (days, 3): the quartiles of the same over the year before."""

    def of_kinds(self, *kinds: str) -> NDArray[np.int64]:
        """Return the places of the accounts of some kinds."""
        return np.flatnonzero([account.kind in kinds for account in self.accounts])


class _Setting(msgspec.Struct, frozen=True, kw_only=True):
    prices: Prices
    population: Population
    accounts: tuple[Account, ...]
    parameters: Parameters
    plain: PlainModels
    exposure: Floats
    silo_account: NDArray[np.int64]
    first: int


def walk(
    prices: Prices,
    population: Population,
    parameters: Parameters,
    *,
    since: int | None = None,
    until: int | None = None,
    step: int = 1,
    progress: Progress | None = None,
) -> Walk:
    """Forecast and observe every `step`-th day, each from nothing but the hours before it.

    Args:
        prices: All hours.
        population: The accounts.
        parameters: The parameter file.
        since: First day, Unix time; by default the first with a year of history.
        until: Day before which to stop; by default the last whole one.
        step: 7 takes one day a week.
        progress: Called after each day with its number and how many there are.

    Raises:
        InvalidData: no day has the history it needs, or no account its prices.
    """
    setting = _setting(prices, population, parameters)
    hours = _day_hours(setting, since, until)[::step]
    if not hours:
        raise InvalidData("no day between --from and --to has a year of history before it", code="invalid_settings")
    rows: dict[str, list[object]] = {}
    touches = _Touches(setting)
    for number, hour in enumerate(hours, start=1):
        for name, value in _day(setting, hour, touches).items():
            rows.setdefault(name, []).append(value)
        if progress is not None:
            progress(number, len(hours))
    return Walk(
        accounts=setting.accounts,
        days=tuple(prices.first_hour + HOUR * hour for hour in hours),
        silo_account=setting.silo_account,
        tails=np.stack([np.asarray(item, dtype=np.float32) for item in rows.pop("tails")]),
        **{name: np.array(values, dtype=np.float64) for name, values in rows.items()},
    )


def _setting(prices: Prices, population: Population, parameters: Parameters) -> _Setting:
    accounts = with_tokens(population, prices.factors)
    lines = [exposures(silo, population, prices.factors) for account in accounts for silo in account.silos]
    return _Setting(
        prices=prices,
        population=population,
        accounts=accounts,
        parameters=parameters,
        plain=PlainModels(prices, parameters),
        exposure=np.stack(lines),
        silo_account=np.repeat(np.arange(len(accounts)), [len(account.silos) for account in accounts]),
        first=int((prices.close > 0).argmax(axis=1).min()),
    )


def _day_hours(setting: _Setting, since: int | None, until: int | None) -> list[int]:
    prices, parameters = setting.prices, setting.parameters
    least = setting.first + parameters.paths.minimum_history_hours + parameters.volatility.warm_up_hours
    begin = max(prices.first_hour + HOUR * least, since or 0)
    last = min(prices.first_hour + HOUR * (prices.hours - 24), (until or 2**53) - DAY)
    return [prices.hour(time) for time in range(-(-begin // DAY) * DAY, last + 1, DAY)]


class _Touches:
    """Every account's touches up to the day before: what climate is made of."""

    def __init__(self, setting: _Setting) -> None:
        self._setting = setting
        self._next = setting.first + 24
        self._hits = np.zeros(len(setting.accounts))
        self._days = np.zeros(len(setting.accounts))

    def before(self, hour: int) -> Floats:
        """Take in all days that end at or before `hour`, and return the shares, pulled to a half by one day."""
        setting = self._setting
        self._next += (hour - self._next) % 24
        while self._next + 24 <= hour:
            day = ratios(setting.prices, self._next)
            present = np.flatnonzero((np.isfinite(day.close) & (day.close > 0)).all(axis=1))
            known = {setting.prices.factors[place] for place in present}
            for place, account in enumerate(setting.accounts):
                if account.kind != "token" and tokens(account) <= known:
                    self._days[place] += 1
                    self._hits[place] += account_touched(account, setting.population, day, setting.prices.factors).joint
            self._next += 24
        return np.asarray((self._hits + 0.5) / (self._days + 1.0))


def _market(setting: _Setting, places: list[int], begin: int, hour: int) -> MarketState:
    prices = setting.prices
    quotes = tuple(
        FactorQuote(
            factor=prices.factors[place],
            price=Wad(price_in_wad(int(prices.close[place, hour - 1]))),
            group=group_of(prices.factors[place]),
        )
        for place in places
    )
    history = prices.history(places, begin, hour)
    return MarketState(as_of=prices.first_hour + HOUR * hour, quotes=quotes, history=history)


def _day(setting: _Setting, hour: int, touches: _Touches) -> dict[str, object]:
    begin = max(setting.first, hour - setting.parameters.history_window_hours)
    places = setting.prices.covered(begin, hour + 24)
    known = {setting.prices.factors[place] for place in places}
    chosen = [place for place, account in enumerate(setting.accounts) if tokens(account) <= known]
    silos = np.flatnonzero(np.isin(setting.silo_account, chosen))
    market = _market(setting, places, begin, hour)
    quoted = {quote.factor: quote.price for quote in market.quotes}
    portfolios = [portfolio(place, setting.accounts[place], setting.population, quoted) for place in chosen]
    found = forecast(portfolios, market, setting.parameters)
    exposure = setting.exposure[silos][:, places]
    first_silos = np.searchsorted(setting.silo_account[silos], chosen)
    joint_exposure = np.add.reduceat(exposure, first_silos, axis=0)
    plain = setting.plain.forecasts(joint_exposure, places, begin, hour)
    day = ratios(setting.prices, hour)
    silo_loss = -(exposure @ (day.close[places, -1] - 1.0))
    shortfall = expected_shortfall(found.losses, LEVEL)
    by_account = {
        "loss": np.add.reduceat(silo_loss, first_silos),
        "value_at_risk": value_at_risk(found.losses, LEVEL),
        "shortfall": shortfall,
        "historical": value_at_risk(plain.historical, LEVEL),
        "filtered": value_at_risk(plain.filtered, LEVEL),
        "unified": found.unified,
        "net": found.net,
        "static": found.static,
        "probability": found.probability,
        **_touch_columns(setting, chosen, hour),
    }
    by_silo = {
        "silo_loss": silo_loss,
        "silo_value_at_risk": value_at_risk(found.silo_losses, LEVEL),
        "silo_shortfall": expected_shortfall(found.silo_losses, LEVEL),
        "silo_base": found.base,
        "silo_following": found.following,
    }
    beyond = np.full((len(setting.accounts), TAIL), np.nan)
    beyond[chosen] = tail(found.losses, LEVEL, TAIL) / np.maximum(shortfall, 1e-9)[:, None]
    levels = setting.plain.volatility[places]
    earlier = np.median(levels[:, max(hour - 1 - YEAR_HOURS, 0) : hour - 1 : 24], axis=0)
    return {
        **{name: _spread(values, chosen, len(setting.accounts)) for name, values in by_account.items()},
        **{name: _spread(values, silos.tolist(), setting.silo_account.size) for name, values in by_silo.items()},
        "tails": beyond,
        "climate": touches.before(hour),
        "volatility": float(np.median(levels[:, hour - 1])),
        "past_quartiles": np.quantile(earlier[np.isfinite(earlier)], [0.25, 0.5, 0.75]),
    }


def _touch_columns(setting: _Setting, chosen: list[int], hour: int) -> dict[str, Floats]:
    day = ratios(setting.prices, hour)
    columns = {name: np.full(len(chosen), np.nan) for name in ("joint", "apart", "formula")}
    for row, place in enumerate(chosen):
        account = setting.accounts[place]
        if account.kind == "token":
            continue
        seen = account_touched(account, setting.population, day, setting.prices.factors)
        columns["joint"][row], columns["apart"][row] = seen.joint, seen.apart
        if account.kind in SINGLE:
            (name,) = tokens(account)
            volatility = float(setting.plain.volatility[setting.prices.factors.index(name), hour - 1])
            rising = set(account.silos[0].collateral) == {DOLLAR}
            columns["formula"][row] = touch_formula(account.silos[0].distance, volatility, rising=rising)
    return columns


def _spread(values: Floats, places: list[int], size: int) -> Floats:
    result = np.full(size, np.nan)
    result[places] = values
    return result
