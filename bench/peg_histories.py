"""What pegged assets traded at, hour by hour, from the files of DATA_DIRECTORY/pegs: each over what it is pegged to.

stETH, cbETH and rETH are answers of oracles that venues used (Chainlink's rounds; what Comet read); WBTC is the median
of 25 samples until February 2023 and Binance's close from April 2023 on; USDC over USDT and DAI over USDC are Uniswap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from pyarrow import parquet

from backtest.prices import HOUR, Prices

Floats = NDArray[np.float64]
BASES = {"STETH": "ETH", "CBETH": "ETH", "RETH": "ETH", "WBTC": "BTC", "USDC": "USDT", "DAI": "USDC", "USDT": "USD"}
"""What each is measured in; USDT is taken for the dollar."""
OLDEST_HOURS = 26
"""An oracle with a heartbeat of a day is not missing before."""


class Pegs(msgspec.Struct, frozen=True, kw_only=True):
    """Each asset's price in its base on the clock of the prices; NaN where nobody has it."""

    close: dict[str, Floats]
    high: dict[str, Floats]
    low: dict[str, Floats]

    def known(self, asset: str, begin: int, end: int) -> bool:
        """Return whether an asset has a price in every hour."""
        return bool(np.isfinite(self.close[asset][begin:end]).all())


def read_pegs(folder: Path, prices: Prices) -> Pegs:
    """Return all pegs on the clock of `prices`."""
    inside = folder / "pegs"
    lines: dict[str, list[tuple[Floats, Floats]]] = {
        "STETH": [columns(inside / "chainlink_steth_eth_rounds_2022_2024.parquet", "price")],
        "WBTC": [
            columns(inside / "wbtc_btc_coingecko_hourly_2021_2023.parquet", "ratio_med25h"),
            columns(inside / "binance_wbtcusdt_1h_2023_2025.parquet", "ratio_close", later=HOUR),
        ],
        "USDC": [columns(inside / "uniswap_v3_usdc_usdt_hourly_2022_2026.parquet", "price")],
        "DAI": [columns(inside / "uniswap_v3_dai_usdc_hourly_2021_2025.parquet", "price_dai_in_usdc", later=HOUR)],
    }
    comet = inside / "comet_oracle_hourly_2022_2024.parquet"
    lines |= {name: [columns(comet, "price", symbol=symbol)] for name, symbol in (("CBETH", "cbETH"), ("RETH", "rETH"))}
    found = {name: _on_clock(parts, prices) for name, parts in lines.items()}
    one = np.ones(prices.hours)
    found["USDT"] = (one, one, one)
    close, high, low = ({name: part[place] for name, part in found.items()} for place in range(3))
    return Pegs(close=close, high=high, low=low)


def columns(path: Path, column: str, *, symbol: str | None = None, later: int = 0) -> tuple[Floats, Floats]:
    """Return times and values; `later` is how long after its time stamp a value was seen."""
    table = parquet.read_table(path).to_pydict()
    rows = [
        (time + later, value)
        for place, (time, value) in enumerate(zip(table["ts"], table[column], strict=True))
        if value is not None and math.isfinite(value) and (symbol is None or table["symbol"][place] == symbol)
    ]
    times, values = np.array(sorted(rows), dtype=np.float64).T
    return times, values


def _on_clock(parts: Sequence[tuple[Floats, Floats]], prices: Prices) -> tuple[Floats, Floats, Floats]:
    """Return close, high and low of each hour: the last value until its end, and the extremes on the way."""
    close, high, low = (np.full(prices.hours, np.nan) for _ in range(3))
    ends = prices.first_hour + HOUR * (1 + np.arange(prices.hours))
    for times, values in parts:
        last = np.searchsorted(times, ends, side="right") - 1
        begun = np.searchsorted(times, ends - HOUR, side="right") - 1
        for hour in np.flatnonzero((begun >= 0) & (ends - times[np.maximum(last, 0)] < OLDEST_HOURS * HOUR)):
            seen = values[begun[hour] : last[hour] + 1]
            close[hour], high[hour], low[hour] = seen[-1], seen.max(), seen.min()
    return close, high, low
