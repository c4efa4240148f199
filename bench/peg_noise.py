"""How pegs move from one day to the next while they do not break, by how far they are from parity: per kind, fitted.

Run: python -m bench.peg_noise DATA_DIRECTORY [--to DAY]
The variance of a day is calm^2 + spread^2 x |ln(price / parity)|, as in a square-root process (Cox, Ingersoll, Ross,
1985); moves are Student t with four degrees of freedom, as the engine's noise is. Curve's pool and Chainlink's rounds
for staked ether, the 25-sample median and Binance for wrapped bitcoin, an aggregator's USDC and USDT and then Uniswap's
pool for dollars.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from backtest.prices import DAY
from bench.peg_histories import columns
from riskschema.instruments import PegKind

Floats = NDArray[np.float64]
SERIES: tuple[tuple[PegKind, str, str, str, str], ...] = (
    ("staking", "curve_steth_pool_daily_2021_2022", "discount_pct", "2021-01-01", "2022-01-30"),
    ("staking", "chainlink_steth_eth_rounds_2022_2024", "price", "2022-01-30", "2025-01-01"),
    ("wrapped_bitcoin", "wbtc_btc_coingecko_hourly_2021_2023", "ratio_med25h", "2021-01-01", "2023-03-01"),
    ("wrapped_bitcoin", "binance_wbtcusdt_1h_2023_2025", "ratio_close", "2023-04-01", "2025-01-01"),
    ("dollar", "stablecoin_usd_hourly_dai_usdt_usdc_2020_2025", "usdc_usd", "2020-01-01", "2022-01-01"),
    ("dollar", "stablecoin_usd_hourly_dai_usdt_usdc_2020_2025", "usdt_usd", "2020-01-01", "2022-01-01"),
    ("dollar", "uniswap_v3_usdc_usdt_hourly_2022_2026", "price", "2022-01-01", "2025-01-01"),
)
"""Kind, file, column, and the days of it that are used: one source of an asset at a time."""
FREEDOM = 4.0


class Moves(NamedTuple):
    """From one day's last value to the next one's."""

    discount: Floats
    """|ln| of the value at the beginning."""
    change: Floats
    """Of its logarithm."""


class Noise(NamedTuple):
    days: int
    calm: float
    spread: float
    usual: float
    """Median distance from parity."""


def moves(folder: Path, kind: PegKind, until: int) -> Moves:
    """Return all daily moves of a kind that end before `until`."""
    found = []
    for series, file, column, since, end in SERIES:
        if series != kind:
            continue
        times, values = columns(folder / "pegs" / f"{file}.parquet", column)
        ratio = 1.0 + values / 100.0 if column == "discount_pct" else values
        begin, stop = (np.datetime64(day, "s").astype(np.int64) for day in (since, end))
        chosen = (times >= begin) & (times < min(int(stop), until))
        found.append(_daily(times[chosen], ratio[chosen]))
    return Moves(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _daily(times: Floats, ratio: Floats) -> Moves:
    day = (times // DAY).astype(np.int64)
    last = np.flatnonzero(np.diff(day, append=day[-1:] + 1))
    next_day, levels = np.diff(day[last]) == 1, np.log(ratio[last])
    return Moves(np.abs(levels[:-1])[next_day], np.diff(levels)[next_day])


def fitted(seen: Moves) -> Noise:
    """Return the calm volatility and the spread of the largest likelihood."""

    def cost(raw: Floats) -> float:
        scale = (np.exp(2.0 * raw[0]) + raw[1] ** 2 * seen.discount) * (FREEDOM - 2.0) / FREEDOM
        tail = np.log1p(seen.change**2 / (FREEDOM * scale))
        return float((np.log(scale) / 2.0 + (FREEDOM + 1.0) / 2.0 * tail).mean())

    starts = [np.array([np.log(calm), spread]) for calm in (0.0004, 0.002) for spread in (0.02, 0.2)]
    best = min((minimize(cost, start, method="Nelder-Mead") for start in starts), key=lambda found: float(found.fun))
    calm, spread = float(np.exp(best.x[0])), abs(float(best.x[1]))
    return Noise(seen.change.size, calm, spread, float(np.median(seen.discount)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--to", default="2024-03-25")
    chosen = parser.parse_args()
    until = int(np.datetime64(chosen.to, "s").astype(np.int64))
    for kind in dict.fromkeys(series[0] for series in SERIES):
        found = fitted(moves(chosen.folder, kind, until))
        print(f"{kind}: {found.days} days, calm {found.calm:.5f}, spread {found.spread:.4f}, usual {found.usual:.4f}")
