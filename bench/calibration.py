"""Compare published probabilities with what happened: day by day, on hours the engine had not seen.

Run: python bench/calibration.py PRICES_DIRECTORY [--days N]
Every day, accounts with one collateral at several distances from liquidation are assessed from the hours before; the
label is whether the next day's lows (highs for short accounts) cross the threshold. Prints predicted and observed
shares by distance.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import parquet

from aggregator.assess import assess
from aggregator.parameters import load_parameters
from riskschema.buffers import Column
from riskschema.instruments import Claim, Debt, Token
from riskschema.market import FactorQuote, HourlyHistory, MarketState
from riskschema.portfolio import CollateralTerm, Portfolio, Position, Silo, WeightedCollateral
from riskschema.units import WAD, Address, Amount, Wad

FACTORS = {"BTC": "btc", "ETH": "eth"}
DISTANCES = (0.02, 0.04, 0.06, 0.09, 0.12, 0.18, 0.25, 0.35)


def matrix(folder: Path, kind: str) -> tuple[np.ndarray, np.ndarray]:
    names = [f"{name}USDT" for name in FACTORS]
    table = parquet.read_table(folder / f"binance_usdm_28tokens_1h_{kind}_2020_2024.parquet", columns=["ts", *names])
    return np.array(table["ts"]), np.array([np.array(table[name], dtype=np.float64) for name in names])


def column(values: np.ndarray) -> Column:
    units = np.rint(values * 1e12).astype("<i8")
    return Column(dtype="int64", shape=units.shape, data=units.tobytes())


def account(number: int, factor: str, price: float, distance: float, *, short: bool) -> Portfolio:
    """Weighted collateral and debt that meet when the price moves by `distance` against the holder."""
    where = Address(f"0x{number:040x}")
    coin = Token(chain_id=1, address=Address(f"0x{1:040x}"), symbol=factor, decimals=18, factor=factor)
    dollar = Token(chain_id=1, address=Address(f"0x{2:040x}"), symbol="USD", decimals=18, factor="USD")
    limit = price * (1 + distance) if short else price * (1 - distance)
    pledged, owed = (dollar, coin) if short else (coin, dollar)
    amounts = (int(limit * WAD), -WAD) if short else (WAD, -int(limit * WAD))
    answers = {factor: Wad(int(price * 1e6) * 10**12), "USD": Wad(WAD)}
    kinds: dict[str, Any] = {"venue": "bench:1:main", "market": "", "annual_rate": Wad(0)}
    return Portfolio(
        subject=where,
        silos=(
            Silo(
                id="bench",
                venue="bench:1:main",
                chain_id=1,
                market="",
                account=where,
                health=Wad(WAD + 1),
                rule=WeightedCollateral(
                    numeraire="USD",
                    terms=tuple(CollateralTerm(weight=Wad(WAD), price=answers[t.factor]) for t in (pledged, owed)),
                    close_factor=Wad(WAD // 2),
                ),
                positions=(
                    Position(instrument=Claim(token=pledged, **kinds), quantity=Amount(amounts[0])),
                    Position(instrument=Debt(token=owed, **kinds), quantity=Amount(amounts[1])),
                ),
            ),
        ),
    )


def main(folder: Path, days: int | None) -> None:
    parameters = load_parameters()
    hours, close = matrix(folder, "close")
    high = np.maximum(matrix(folder, "high")[1], close)  # stored in single precision
    low = np.minimum(matrix(folder, "low")[1], close)
    first = parameters.paths.minimum_history_hours + parameters.volatility.warm_up_hours
    starts = range(first, hours.size - 25, 24)[: days or None]
    predicted: dict[tuple[bool, float], list[float]] = {}
    observed: dict[tuple[bool, float], list[bool]] = {}
    for end in starts:
        history = HourlyHistory(
            first_hour=int(hours[0]),
            factors=tuple(FACTORS),
            close=column(close[:, :end]),
            high=column(high[:, :end]),
            low=column(low[:, :end]),
            simulated=False,
        )
        now = close[:, end - 1]
        quotes = tuple(
            FactorQuote(factor=name, price=Wad(int(now[i] * 1e6) * 10**12), group=group)  # type: ignore[arg-type]
            for i, (name, group) in enumerate(FACTORS.items())
        )
        cases = [
            (index, name, short, distance)
            for index, name in enumerate(FACTORS)
            for short in (False, True)
            for distance in DISTANCES
        ]
        portfolios = [account(k + 1, n, float(now[i]), d, short=s) for k, (i, n, s, d) in enumerate(cases)]
        market = MarketState(as_of=int(hours[end]), quotes=quotes, history=history)
        batch = assess(portfolios, market, parameters)
        for (index, _, short, distance), found in zip(cases, batch.assessments, strict=True):
            score = 10 ** (found.score / 250 - 4)
            lowest, highest = low[index, end : end + 24].min(), high[index, end : end + 24].max()
            hit = highest > now[index] * (1 + distance) if short else lowest < now[index] * (1 - distance)
            predicted.setdefault((short, distance), []).append(score)
            observed.setdefault((short, distance), []).append(bool(hit))
    lines = []
    print(f"{len(starts)} days, BTC and ETH; predicted from the score (before the published floor)")
    print("side   distance  predicted  observed  days hit")
    for (short, distance), values in sorted(predicted.items()):
        hits = observed[short, distance]
        lines.append([short, distance, float(np.mean(values)), float(np.mean(hits)), int(np.sum(hits))])
        side = "short" if short else "long"
        print(f"{side:6} {distance:8.2f} {lines[-1][2]:10.4f} {lines[-1][3]:9.4f} {lines[-1][4]:9d}")
    print(json.dumps({"days": len(starts), "lines": lines}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int, default=None)
    chosen = parser.parse_args()
    main(chosen.folder, chosen.days)
