"""Measure what crises did to each asset group: the facts behind `[[stress.crises]]` in aggregator/parameters.toml.

Run: python bench/crises.py PRICES_DIRECTORY
The directory holds hourly candles as Parquet (columns ``ts``, ``close``; one matrix of perpetual closes per symbol).
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pyarrow import parquet

LARGE = ("BNB", "SOL", "XRP", "ADA", "DOGE", "LINK", "LTC", "DOT", "MATIC", "UNI", "BCH", "TRX")
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


if __name__ == "__main__":
    main(Path(sys.argv[1]))
