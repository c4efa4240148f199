"""The arrays of a whole market: 28 real tokens, two stablecoins, three years of days. Prints the roots of a report.

    python full_size.py PRICES_DIRECTORY

Run by `test_full_size` under several CPUs and thread counts; everything is read from files, so nothing can differ but
the machine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from pyarrow import parquet

from aggregator.assess import AssessmentBatch, assess
from aggregator.parameters import load_parameters
from aggregator.valuation.arrays import arrays_digest_chunks
from attest.encoding.merkle import build_tree
from attest.formats.leaf import leaf_hash
from attest.reports.leaves import account_leaf
from attest.reports.report import arrays_root
from riskschema.buffers import Column
from riskschema.market import FactorQuote, Group, HourlyHistory, MarketState
from riskschema.portfolio import Portfolio
from riskschema.units import Wad
from tests.soak.random_book import RandomBook

SEED = 28
ACCOUNTS = 60
LARGE = {"ADA", "AAVE", "BCH", "BNB", "DOGE", "DOT", "LINK", "LTC", "MATIC", "SOL", "TRX", "UNI", "XRP"}
STABLECOINS: dict[str, tuple[Group, float]] = {"USDC": ("stablecoin", 1.0), "DAI": ("stablecoin", 0.9995)}


def group_of(name: str) -> Group:
    """Return the asset group of a token."""
    groups: dict[str, Group] = {"BTC": "btc", "ETH": "eth"}
    return groups.get(name, "large" if name in LARGE else "other")


def read_history(folder: Path) -> HourlyHistory:
    """Read the hourly table of all tokens; highs and lows are kept in single precision there."""
    tables = {
        kind: parquet.read_table(folder / f"binance_usdm_28tokens_1h_{kind}_2020_2024.parquet")
        for kind in ("close", "high", "low")
    }
    names = [name for name in tables["close"].column_names if name != "ts"]
    prices = {
        kind: np.array([np.array(table[name], dtype=np.float64) for name in names]) for kind, table in tables.items()
    }
    close = prices["close"]
    return HourlyHistory(
        first_hour=int(tables["close"]["ts"][0].as_py()),
        factors=tuple(name.removesuffix("USDT") for name in names),
        close=_column(close),
        high=_column(np.maximum(prices["high"], close)),
        low=_column(np.minimum(prices["low"], close)),
        simulated=False,
    )


def whole_market(folder: Path) -> tuple[MarketState, list[Portfolio]]:
    """Return the market at the end of the table, and accounts that hold its tokens."""
    history = read_history(folder)
    last = np.frombuffer(history.close.data, dtype="<i8").reshape(history.close.shape)[:, -1]
    tokens = {name: (group_of(name), float(price) / 1e12) for name, price in zip(history.factors, last, strict=True)}
    known = tokens | STABLECOINS
    market = MarketState(
        as_of=history.first_hour + 3_600 * history.hours,
        quotes=tuple(
            FactorQuote(factor=name, price=Wad(round(price * 1e9) * 10**9), group=group)
            for name, (group, price) in known.items()
        ),
        history=history,
    )
    book = RandomBook(SEED, known)
    return market, [book.portfolio(number) for number in range(ACCOUNTS)]


def roots(batch: AssessmentBatch, portfolios: list[Portfolio]) -> dict[str, str]:
    """Return the two roots that a report commits to."""
    pairs = zip(portfolios, batch.assessments, strict=True)
    leaves = [leaf_hash(account_leaf(bytes(32), 1, portfolio, found, 0)) for portfolio, found in pairs]
    return {
        "arrays_root": arrays_root(arrays_digest_chunks(batch.arrays)).hex(),
        "accounts_root": build_tree(leaves).root.hex(),
    }


def _column(values: np.ndarray) -> Column:
    units = np.rint(values * 1e12).astype("<i8")
    return Column(dtype="int64", shape=units.shape, data=units.tobytes())


if __name__ == "__main__":
    state, held = whole_market(Path(sys.argv[1]))
    sys.stdout.write(json.dumps(roots(assess(held, state, load_parameters()), held)) + "\n")
