"""Loops of pegged assets on every kind of oracle: what the engine says of them, and what their pegs did.

Run: python -m bench.validation DATA_DIRECTORY --only loops [--thin N]
A loop holds 20,000 dollars of an asset and owes another of the same underlying. On a market oracle it is liquidated
when the ratio of their prices falls by 1 - 1/health; an exchange rate, a cap and a fixed answer do not see that. The
engine is told the past of bitcoin and ether only: pegs move by the noise and the published crises of their kind.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from adapters.history.matrices import read_matrices
from aggregator.parameters import Parameters
from backtest.engine import forecast
from backtest.losses import area_under_curve, brier, calibration_error, log_loss
from backtest.population import VENUE
from backtest.prices import HOUR, UNIT, Prices, join
from backtest.report import Bar, Cell, Table
from backtest.score import EDGES, LEAST_DAYS_WITH_A_HIT
from bench.peg_histories import BASES, Pegs, read_pegs
from riskschema.instruments import Asset, Claim, Debt, Token, WrappedToken
from riskschema.market import FactorQuote, Group, MarketState
from riskschema.portfolio import CollateralTerm, OracleKind, Portfolio, Position, Silo, VenueOracle, WeightedCollateral
from riskschema.units import WAD, Address, Amount, Wad

Floats = NDArray[np.float64]
COLLATERAL_USD, THRESHOLD = 20_000.0, 0.93
PAIRS = (
    ("STETH", "ETH"),
    ("ETH", "STETH"),
    ("WSTETH", "ETH"),
    ("CBETH", "ETH"),
    ("RETH", "ETH"),
    ("WBTC", "BTC"),
    ("BTC", "WBTC"),
    ("USDC", "USDT"),
    ("USDT", "USDC"),
    ("DAI", "USDC"),
    ("USDC", "DAI"),
)
INDEX = {"WSTETH": ("STETH", 1.15)}
"""A wrapper, told as its contract's index of what it wraps."""
AT_PARITY = {"STETH", "WSTETH", "WBTC", "ETH", "BTC", "USDC", "USDT", "DAI"}
HEALTHS = tuple(1.0 + 0.005 * 60.0 ** (step / 39) for step in range(40))
"""From 1.005 to 1.3."""
BANDS = (1.0, 1.01, 1.02, 1.05, 1.1, 1.3001)
KINDS: tuple[OracleKind, ...] = get_args(OracleKind)
LEAST_LOOPS = 400
CERTAINLY_SAFE = 1e-4
"""What a score of 0 stands for."""


class Loop(NamedTuple):
    held: str
    owed: str
    health: float
    oracle: OracleKind


LOOPS = tuple(Loop(*pair, health, kind) for kind in KINDS for pair in PAIRS for health in HEALTHS)


class Loops(msgspec.Struct, frozen=True, kw_only=True):
    """Arrays of shape (days, loops), NaN where a pair has no price."""

    days: tuple[int, ...]
    probability: Floats
    touched: Floats
    loss: Floats
    base: Floats
    owed: Floats


def group(name: str) -> Group:
    named: dict[str, Group] = {"ETH": "eth", "STETH": "eth", "CBETH": "eth", "RETH": "eth", "BTC": "btc", "WBTC": "btc"}
    return named.get(name, "stablecoin")


def asset(name: str) -> Asset:
    coin = Token(chain_id=1, address=Address("0x" + name.encode().hex().rjust(40, "0")), decimals=18, factor=name)
    if name not in INDEX:
        return coin
    below, index = INDEX[name]
    wrapped = asset(below)
    assert isinstance(wrapped, Token)
    return WrappedToken(token=coin, underlying=wrapped, index=Wad(round(index * WAD)))


class Clock(NamedTuple):
    """Prices in dollars of whatever a loop holds or owes."""

    prices: Prices
    pegs: Pegs

    def dollars(self, name: str, hour: int) -> float:
        if name == "USD":
            return 1.0
        if name in INDEX:
            below, index = INDEX[name]
            return index * self.dollars(below, hour)
        if name in BASES:
            return float(self.pegs.close[name][hour]) * self.dollars(BASES[name], hour)
        return float(self.prices.close[self.prices.factors.index(name), hour]) / UNIT

    def known(self, name: str, begin: int, end: int) -> bool:
        name = INDEX[name][0] if name in INDEX else name
        return name not in BASES or (self.pegs.known(name, begin, end) and self.known(BASES[name], begin, end))

    def lowest(self, held: str, owed: str, begin: int, end: int) -> float:
        """Return the smallest ratio of the two prices in the hours after `begin`, over that at its end."""
        held, owed = (INDEX[name][0] if name in INDEX else name for name in (held, owed))
        if BASES.get(held) == owed:
            return float(self.pegs.low[held][begin + 1 : end].min() / self.pegs.close[held][begin])
        return float(self.pegs.close[owed][begin] / self.pegs.high[owed][begin + 1 : end].max())


def answer(loop: Loop, clock: Clock, hour: int) -> float:
    """Return what the venue's oracle says one unit of what is held is worth in units of what is owed."""
    if loop.oracle == "market" or not {loop.held, loop.owed} <= AT_PARITY:
        return clock.dollars(loop.held, hour) / clock.dollars(loop.owed, hour)
    return INDEX[loop.held][1] if loop.held in INDEX else 1.0


def portfolio(place: int, loop: Loop, clock: Clock, hour: int) -> tuple[Portfolio, float, float]:
    """Return the loop as the engine reads it, and the dollars that it holds and owes at the market."""
    price = answer(loop, clock, hour)
    held = COLLATERAL_USD / clock.dollars(loop.held, hour)
    owed = held * THRESHOLD * price / loop.health
    oracle = VenueOracle(kind=loop.oracle)
    holder = Address(f"0x{place + 1:040x}")
    parts = (
        (Claim(token=asset(loop.held), venue=VENUE), held, THRESHOLD, price),
        (Debt(token=asset(loop.owed), venue=VENUE), -owed, 1.0, 1.0),
    )
    terms = tuple(
        CollateralTerm(weight=Wad(round(weight * WAD)), price=Wad(round(told * WAD)), oracle=oracle)
        for _, _, weight, told in parts
    )
    silo = Silo(
        id="loop",
        venue=VENUE,
        chain_id=1,
        market="",
        account=holder,
        health=Wad(round(loop.health * WAD)),
        rule=WeightedCollateral(numeraire=loop.owed, numeraire_oracle=loop.oracle, terms=terms),
        positions=tuple(Position(instrument=kind, quantity=Amount(round(much * WAD))) for kind, much, _, _ in parts),
    )
    return Portfolio(subject=holder, silos=(silo,)), COLLATERAL_USD, owed * clock.dollars(loop.owed, hour)


def market(clock: Clock, hour: int, begin: int, names: Sequence[str]) -> MarketState:
    places = [clock.prices.factors.index(name) for name in ("BTC", "ETH")]
    quotes = tuple(
        FactorQuote(factor=name, price=Wad(round(clock.dollars(name, hour - 1) * WAD)), group=group(name))
        for name in names
    )
    history = clock.prices.history(places, begin, hour)
    return MarketState(as_of=clock.prices.first_hour + HOUR * hour, quotes=quotes, history=history)


def walk(clock: Clock, parameters: Parameters, days: range) -> Loops:
    """Assess all loops whose pegs are known on every day of `days` and see what became of them."""
    rows: dict[str, list[Floats]] = {name: [] for name in ("probability", "touched", "loss", "base", "owed")}
    seen = []
    for day in days:
        hour = clock.prices.hour(day)
        now, end = hour - 1, hour + 24
        whole = {pair for pair in PAIRS if all(clock.known(name, now, end) for name in pair)}
        chosen = [place for place, loop in enumerate(LOOPS) if loop[:2] in whole]
        if not chosen:
            continue
        names = sorted({"BTC", "ETH"} | {name for pair in whole for name in pair if name not in INDEX})
        begin = max(hour - parameters.history_window_hours, 0)
        made = [portfolio(place, LOOPS[place], clock, now) for place in chosen]
        found = forecast([each[0] for each in made], market(clock, hour, begin, names), parameters)
        values = {name: np.full(len(LOOPS), np.nan) for name in rows}
        for row, place in enumerate(chosen):
            loop, (_, held, owed) = LOOPS[place], made[row]
            low = clock.lowest(loop.held, loop.owed, now, end)
            moved = [clock.dollars(name, end - 1) / clock.dollars(name, now) - 1.0 for name in loop[:2]]
            values["touched"][place] = float(loop.oracle == "market" and loop.health * low < 1.0)
            values["loss"][place] = owed * moved[1] - held * moved[0]
            values["owed"][place] = owed
        values["probability"][chosen], values["base"][chosen] = found.probability, found.base
        for name, line in values.items():
            rows[name].append(line)
        seen.append(day)
    return Loops(days=tuple(seen), **{name: np.stack(lines) for name, lines in rows.items()})


def summary(loops: Loops, chosen: NDArray[np.bool_]) -> tuple[Cell, ...]:
    """Return the figures of some loops on all their days."""
    columns = np.flatnonzero(chosen & np.isfinite(loops.probability).any(axis=0))
    said, seen = loops.probability[:, columns], loops.touched[:, columns]
    known = np.isfinite(said)
    said, seen = said[known], seen[known]
    breached = float((loops.loss[:, columns][known] > loops.base[:, columns][known]).mean())
    return (
        columns.size,
        int(known.sum()),
        int((np.nan_to_num(loops.touched[:, columns]).sum(axis=1) > 0).sum()),
        float(said.mean()),
        float(seen.mean()),
        calibration_error(said, seen, EDGES[1:-1]),
        float(brier(said, seen).mean()),
        float(log_loss(said, seen).mean()),
        area_under_curve(said, seen),
        breached,
        float(loops.base[:, columns][known].mean()),
    )


COLUMNS = (
    "loops",
    "loop days",
    "days with a hit",
    "predicted",
    "observed",
    "ECE",
    "Brier",
    "log loss",
    "AUC",
    "loss above base",
    "mean base, dollars",
)


def tables(loops: Loops) -> tuple[tuple[Bar, ...], tuple[Table, ...]]:
    """Return what must hold, and the figures by oracle, by pair and by health."""
    oracle = np.array([loop.oracle for loop in LOOPS])
    pair = np.array([f"{loop.held}/{loop.owed}" for loop in LOOPS])
    health = np.array([loop.health for loop in LOOPS])
    rows = {kind: summary(loops, oracle == kind) for kind in KINDS}
    discounted = np.array([loop.held in BASES or loop.held in INDEX for loop in LOOPS])
    near = loops.probability[:, (oracle == "market") & (health < 1.02) & discounted]
    scored = float((near[np.isfinite(near)] > CERTAINLY_SAFE).mean())
    least = min(int(row[0] or 0) for row in rows.values())
    breached = max(float(row[9] or 0.0) for row in rows.values())
    error = float(rows["market"][5] or 0.0)
    low = summary(loops, (oracle == "market") & (health < 1.02))
    said, seen, hit = float(low[3] or 0.0), float(low[4] or 0.0), int(low[2] or 0)
    blind = max(float(np.nanmax(loops.probability[:, oracle == kind])) for kind in KINDS if kind != "market")
    bars = (
        Bar(name="loops on each kind of oracle", measured=least, bar=f"≥ {LEAST_LOOPS}", holds=least >= LEAST_LOOPS),
        Bar(
            name="share of loops below health 1.02 that score above 0: market oracle, what is held is pegged",
            measured=scored,
            bar="1",
            holds=scored == 1.0,
        ),
        Bar(
            name="observed over predicted below health 1.02, market oracle",
            measured=seen / said,
            bar="between .67 and 1.5",
            holds=0.67 <= seen / said <= 1.5 if hit >= LEAST_DAYS_WITH_A_HIT else None,
        ),
        Bar(name="expected calibration error, market oracle", measured=error, bar="≤ .01", holds=error <= 0.01),
        Bar(
            name="largest probability where the oracle does not see the peg",
            measured=blind,
            bar="≤ .003, grade A",
            holds=blind <= 0.003,
        ),
        Bar(name="losses above base, worst oracle", measured=breached, bar="≤ .005", holds=breached <= 0.005),
    )
    traded = [name for name in dict.fromkeys(pair) if np.isfinite(loops.probability[:, pair == name]).any()]
    bands = [
        (f"{low:g} to {min(high, 1.3):g}", (oracle == "market") & (health > low) & (health <= high))
        for low, high in itertools.pairwise(BANDS)
    ]
    return bars, (
        Table(
            title="Loops of pegged assets, by what the venue's oracle sees",
            columns=("oracle", *COLUMNS),
            rows=tuple((kind, *row) for kind, row in rows.items()),
        ),
        Table(
            title="On market oracles, by pair: held over owed",
            columns=("pair", *COLUMNS),
            rows=tuple((name, *summary(loops, (oracle == "market") & (pair == name))) for name in traded),
        ),
        Table(
            title="On market oracles, by health",
            columns=("health", *COLUMNS),
            rows=tuple((name, *summary(loops, chosen)) for name, chosen in bands),
        ),
    )


def measured(
    folder: Path, days: range, parameters: Parameters
) -> tuple[tuple[int, ...], tuple[Bar, ...], tuple[Table, ...]]:
    """Return the days, what must hold and the tables."""
    prices = join(read_matrices(folder))
    loops = walk(Clock(prices, read_pegs(folder, prices)), parameters, days)
    return loops.days, *tables(loops)
