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

from adapters.history.matrices import read_matrices
from aggregator.parameters import load_parameters
from aggregator.scenarios.volatility import forecast_series
from backtest.fitting import quasi_likelihood
from backtest.population import LARGE
from backtest.prices import UNIT, join

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


IMPLIED = (("BTC", "btc", "deribit_btc_dvol_1h_2021_2026", 0), ("ETH", "eth", "deribit_eth_dvol_1d_2021_2025", 86_400))
"""Asset, group, file of its volatility index, and seconds from a row's time until it is known."""
FITTED_UNTIL = "2021-11-01"


def print_implied(folder: Path) -> None:
    """Print realised over implied variance, and the forecast's loss with each share of the implied one."""
    prices, parameters = join(read_matrices(folder)), load_parameters()
    for asset, group, name, delay in IMPLIED:
        table = parquet.read_table(folder.parent / "vol" / f"{name}.parquet")
        known, index = np.array(table["ts"]) + delay, np.array(table["dvol"])
        closes = prices.close[prices.factors.index(asset)]
        begin = int((closes > 0).argmax())
        returns = np.diff(np.log(closes[begin : prices.hour(epoch("2024-03-25"))] / UNIT))
        own = forecast_series(returns, group=group, model=parameters.volatility)[0] ** 2
        hours = np.arange(prices.hour(int(known[0])) - begin, returns.size - 24, 6)
        now = prices.first_hour + 3_600 * (begin + hours + 1)
        implied = index[np.searchsorted(known, now, side="right") - 1] ** 2 / 8_760
        sums = np.concatenate([np.zeros(1), np.cumsum(returns**2)])
        came = (sums[hours + 24] - sums[hours]) / 24
        before = now < epoch(FITTED_UNTIL)
        ratio = float(came[before].mean() / implied[before].mean())
        shown = []
        for share in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5):
            mixed = (1 - share) * own[hours] + share * ratio * implied
            losses = [quasi_likelihood(mixed[part], came[part]) for part in (before, ~before)]
            shown.append(f"{share:.1f}: {losses[0]:.4f}/{losses[1]:.4f}")
        print(
            f"{asset} realised over implied {ratio:.3f}; loss before/after {FITTED_UNTIL} by share {', '.join(shown)}"
        )


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
    print_implied(Path(sys.argv[1]))
