"""Measure the facts behind aggregator/parameters.toml: crises by asset group, daily quantiles, levels of volatility.

Run: python bench/parameter_facts.py PRICES_DIRECTORY
The directory holds hourly candles as Parquet (columns ``ts``, ``close``; one matrix of perpetual closes per symbol).
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pyarrow import parquet

from backtest.population import LARGE

CRISES = (
    ("march_2020", "2020-03-11", "2020-03-14"),
    ("may_2021", "2021-05-17", "2021-05-24"),
    ("may_2022", "2022-05-08", "2022-05-13"),
    ("june_2022", "2022-06-10", "2022-06-19"),
    ("november_2022", "2022-11-07", "2022-11-11"),
    ("march_2023", "2023-03-09", "2023-03-12"),
)


def epoch(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())


def series(path: Path, column: str = "close") -> dict[int, float]:
    table = parquet.read_table(path, columns=["ts", column]).to_pydict()
    return {int(np.datetime64(t, "s").astype(int)): float(v) for t, v in zip(table["ts"], table[column], strict=True)}


def day_return(prices: dict[int, float], end: int) -> float | None:
    start = prices.get(end - 86_400)
    return prices[end] / start - 1.0 if start and end in prices else None


def daily_losses(prices: dict[int, float], first: str, last: str) -> np.ndarray:
    """Losses and gains over non-overlapping days, as positive shares for either direction."""
    moves = [day_return(prices, end) for end in range(epoch(first), epoch(last), 86_400)]
    known = np.array([move for move in moves if move is not None])
    return np.concatenate([-known, known])


def hourly_volatility(prices: dict[int, float], half_life: float = 36.0) -> np.ndarray:
    """Annualised EWMA volatility of hourly log returns, the first month left out."""
    closes = np.array([prices[t] for t in sorted(prices)])
    weight, variance, levels = 0.5 ** (1 / half_life), 1e-4, []
    for move in np.diff(np.log(closes)):
        variance = weight * variance + (1 - weight) * move * move
        levels.append(np.sqrt(variance * 8760))
    return np.array(levels[720:])


def print_levels(groups: dict[str, list[dict[int, float]]]) -> None:
    """Print, per group, the 99 % quantile of a day's move (training data) and percentiles of volatility."""
    for group, members in groups.items():
        moves = np.concatenate([daily_losses(prices, "2017-08-18", "2022-01-01") for prices in members])
        levels = np.concatenate([hourly_volatility(prices) for prices in members])
        shown = " ".join(f"{np.percentile(levels, q):.3f}" for q in (1, 33, 67, 90, 99))
        print(f"{group:10} 99 % of a day's move {np.percentile(moves, 99):.3f}; volatility at 1/33/67/90/99 %: {shown}")


def main(folder: Path) -> None:
    bitcoin = series(folder / "binance_spot_BTCUSDT_1h_2017_2021.parquet")
    bitcoin |= series(folder / "binance_spot_BTCUSDT_1h_2021_2023.parquet")
    ether = series(folder / "binance_spot_ETHUSDT_1h_2017_2021.parquet")
    ether |= series(folder / "binance_spot_ETHUSDT_1h_2021_2023.parquet")
    usdc = series(folder / "binance_spot_USDCUSDT_1h_2021_2023.parquet")
    matrix = folder / "binance_usdm_28tokens_1h_close_2020_2024.parquet"
    symbols = [name for name in parquet.read_schema(matrix).names if name not in ("ts", "BTCUSDT", "ETHUSDT")]
    tokens = {name.removesuffix("USDT"): series(matrix, name) for name in symbols}
    for name, first, last in CRISES:
        ends = [t for t in range(epoch(first), epoch(last), 3600) if day_return(ether, t) is not None]
        for label, end in (
            ("trough", min(ends, key=lambda t: day_return(ether, t) or 0.0)),
            ("rebound", max(ends, key=lambda t: day_return(ether, t) or 0.0)),
        ):
            moves = {token: day_return(prices, end) for token, prices in tokens.items()}
            large = sorted(m for t, m in moves.items() if t in LARGE and m is not None)
            other = sorted(m for t, m in moves.items() if t not in LARGE and m is not None)
            middle = [f"{np.median(g):+.4f}" if g else "none" for g in (large, other)]
            edge = "none" if not other else f"{other[len(other) // 10] if label == 'trough' else other[-2]:+.4f}"
            stable = day_return(usdc, end)
            print(
                f"{name:14} {label:8} {datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M} "
                f"btc {day_return(bitcoin, end):+.4f} eth {day_return(ether, end):+.4f} large {middle[0]} "
                f"other {middle[1]} edge {edge} usdc {'none' if stable is None else f'{stable:+.4f}'}"
            )
        stables = [day_return(usdc, t) for t in range(epoch(first), epoch(last), 3600)]
        known = [move for move in stables if move is not None]
        print(f"{name:14} lowest 24 h return of USDC: {min(known):+.4f}" if known else f"{name:14} no USDC")
    print_levels(
        {
            "btc": [bitcoin],
            "eth": [ether],
            "large": [tokens[name] for name in LARGE if name in tokens],
            "other": [prices for name, prices in tokens.items() if name not in LARGE],
            "stablecoin": [usdc],
        }
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
