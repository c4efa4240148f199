"""Assess 10,000 accounts of 10 positions against the grid and 1,100 blocks, on one core.

Run: python bench/assess.py [--accounts N] [--json FILE]
     python bench/assess.py --against CHECKOUT [--repeats N]     beside another commit's, in turns
Prints a table and JSON: seconds per stage, peak memory, and the ratio to the same sums written in plain numpy with
float64 matrices, which are neither exact nor equal between machines.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from aggregator.assess import assess, measure
from aggregator.exact.buffers import view32
from aggregator.parameters import load_parameters
from aggregator.scenarios.columns import PATH_COLUMNS
from aggregator.scenarios.factors import listing
from aggregator.valuation.arrays import build_arrays
from aggregator.valuation.books import book, layout, rule_book, rule_rows
from aggregator.valuation.positions import needed_instruments, needed_rule_rows, position_table, read_accounts
from riskschema.arrays import PositionTable, RiskArrays
from riskschema.instruments import Claim, Debt, Token, VenueId
from riskschema.market import FactorQuote, MarketState
from riskschema.portfolio import (
    CollateralTerm,
    NoLiquidation,
    Portfolio,
    Position,
    Silo,
    WeightedCollateral,
)
from riskschema.units import Address, Amount, Wad

T = TypeVar("T")

ONE_CORE = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")

ASSETS = (
    ("BTC", "btc", 8, 40_000),
    ("ETH", "eth", 18, 2_000),
    ("SOL", "large", 9, 100),
    ("LINK", "large", 18, 15),
    ("UNI", "large", 18, 7),
    ("CRV", "other", 18, 1),
    ("USDC", "stablecoin", 6, 1),
    ("DAI", "stablecoin", 18, 1),
)
WEIGHTS = {"btc": "0.75", "eth": "0.825", "large": "0.65", "other": "0.55", "stablecoin": "0.8"}


def wad(text: str) -> Wad:
    return Wad.parse(text)


def address(number: int) -> Address:
    return Address(f"0x{number:040x}")


def token(index: int) -> Token:
    name, _, decimals, _ = ASSETS[index]
    return Token(chain_id=1, address=address(index + 1), symbol=name, decimals=decimals, factor=name)


def market() -> MarketState:
    quotes = tuple(
        FactorQuote(factor=name, price=wad(str(price)), group=group, confidence=wad("0.0001"))  # type: ignore[arg-type]
        for name, group, _, price in ASSETS
    )
    return MarketState(as_of=1_700_000_000, quotes=quotes)


def lending_silo(account: int, venue: VenueId, ledger: Sequence[tuple[int, float]]) -> Silo:
    """Signed dollar amounts per asset become claims and debts at the oracle price."""
    positions, terms, backing, owed = [], [], 0.0, 0.0
    for asset, dollars in ledger:
        _, group, decimals, price = ASSETS[asset]
        kind = Claim if dollars > 0 else Debt
        instrument = kind(token=token(asset), venue=venue, market="main", annual_rate=wad("0.03"))
        quantity = Amount(int(dollars / price * 10**decimals))
        positions.append(Position(instrument=instrument, quantity=quantity))
        weight = wad(WEIGHTS[group]) if dollars > 0 else wad("1")
        terms.append(CollateralTerm(weight=weight, price=wad(str(price)), liquidation_bonus=wad("0.05")))
        backing += max(dollars, 0.0) * float(WEIGHTS[group])
        owed -= min(dollars, 0.0)
    return Silo(
        id=f"{venue}:{address(account)}",
        venue=venue,
        chain_id=1,
        market="main",
        account=address(account),
        health=wad(f"{backing / owed:.9f}"),
        rule=WeightedCollateral(numeraire="USD", terms=tuple(terms), close_factor=wad("0.5")),
        positions=tuple(positions),
    )


def portfolio(number: int, random: np.random.Generator) -> Portfolio:
    """Ten positions: four and four in two lending venues, two in a wallet; health log-uniform from 1.02 to 3."""
    silos = []
    for venue in ("aave_v3:1:main", "morpho_blue:1:main"):
        collateral = random.choice(6, size=2, replace=False)
        debts = 6 + random.permutation(2)
        size = float(np.exp(random.uniform(np.log(1e3), np.log(1e6))))
        weighted = sum(size * float(WEIGHTS[ASSETS[asset][1]]) for asset in collateral)
        owed = weighted / float(np.exp(random.uniform(np.log(1.02), np.log(3.0))))
        ledger = [(int(asset), size) for asset in collateral] + [(int(asset), -owed / 2) for asset in debts]
        silos.append(lending_silo(number, venue, ledger))
    held = tuple(Position(instrument=token(int(a)), quantity=Amount(10**6)) for a in random.integers(0, 8, size=2))
    wallet = Silo(
        id="wallet",
        venue="wallet:1:main",
        chain_id=1,
        market="",
        account=address(number),
        health=None,
        rule=NoLiquidation(),
        positions=held,
    )
    return Portfolio(subject=address(number), silos=(*silos, wallet))


def timed(function: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def plain_numpy(table: PositionTable, arrays: RiskArrays, weights: np.ndarray) -> float:
    """Seconds for the same margins and touches in float64: matrix products and partitions, no explanation."""
    start = time.perf_counter()
    held, columns = book(table), layout(arrays, load_parameters())
    values = view32(arrays.market.mantissas).astype(np.float64)
    accounts, silos = held.account_silos.size - 1, held.silo_positions.size - 1
    owner = np.repeat(np.arange(silos), np.diff(held.silo_positions))
    quantities = np.zeros((silos, values.shape[0]))
    np.add.at(quantities, (owner, held.rows), held.lots.astype(np.float64))
    whole, begin = columns.blocks // 100, 1 + columns.grid + columns.stress

    def base(rows: np.ndarray) -> np.ndarray:
        worth = rows @ values
        losses = worth[:, :1] - worth
        members = [losses[:, 1 : 1 + columns.grid].max(axis=1)]
        stress = losses[:, 1 + columns.grid : begin].max(axis=1)
        for variant in range(4):
            first = begin + variant * columns.blocks
            tail = np.partition(losses[:, first : first + columns.blocks], columns.blocks - whole, axis=1)
            members.append(0.75 * tail[:, -whole:].mean(axis=1) + (0.25 * stress if variant < 3 else 0.0))
        return np.max(members, axis=0)

    for first in range(0, silos, 1000):
        base(quantities[first : first + 1000])
    per_account = np.add.reduceat(quantities, held.account_silos[:-1], axis=0)
    for first in range(0, accounts, 1000):
        base(per_account[first : first + 1000])
    terms, rules = rule_book(table, weights), rule_rows(arrays)
    weights = np.zeros((silos, rules.mantissas.shape[0]))
    np.add.at(weights, (np.repeat(np.arange(silos), np.diff(terms.silo_terms)), terms.rows), terms.lots.astype(float))
    low, high = rules.lowest.astype(np.float64), rules.highest.astype(np.float64)
    bounds = np.maximum(weights, 0) @ low + np.minimum(weights, 0) @ high
    for silo, path in zip(*np.nonzero(bounds < 0), strict=True):
        (weights[silo] @ rules.mantissas[:, 1 + path * PATH_COLUMNS : 1 + (path + 1) * PATH_COLUMNS]).min()
    return time.perf_counter() - start


def main(accounts: int, output: Path | None) -> None:
    parameters, state = load_parameters(), market()
    random = np.random.default_rng(1)
    portfolios = [portfolio(1000 + number, random) for number in range(accounts)]
    _, compiling = timed(lambda: assess(portfolios[:2], state, parameters))
    known = listing(state, parameters)
    read, reading = timed(lambda: read_accounts(portfolios, known))
    arrays, building = timed(lambda: build_arrays(needed_instruments(read), needed_rule_rows(read), state, parameters))
    table, tabling = timed(lambda: position_table(read, arrays))
    found, measuring = timed(lambda: measure(table, arrays, parameters))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _, thousand = timed(lambda: assess(portfolios[:1000], state, parameters))
    _, everything = timed(lambda: assess(portfolios, state, parameters))
    reference = plain_numpy(table, arrays, found.weights)
    results = {
        "accounts": accounts,
        "positions": len(view32(table.rows)),
        "columns": arrays.market.mantissas.shape[1],
        "path_columns": arrays.rule.mantissas.shape[1],
        "seconds": {
            "first_call_with_compilation_or_cache": round(compiling, 3),
            "read_rules": round(reading, 3),
            "build_arrays": round(building, 3),
            "position_table": round(tabling, 3),
            "margins_and_touches": round(measuring, 3),
            "arrays_table_and_measures": round(building + tabling + measuring, 3),
            "assess_1000_with_explanations": round(thousand, 3),
            "assess_all_with_explanations": round(everything, 3),
            "plain_numpy_margins_and_touches": round(reference, 3),
        },
        "peak_memory_mib": round(peak),
        "ratio_to_plain_numpy": round(reference / measuring, 2),
    }
    print(f"{accounts} accounts, {results['positions']} positions, {results['columns']} market columns, one core")
    for name, seconds in results["seconds"].items():  # type: ignore[attr-defined]
        print(f"  {name.replace('_', ' '):42} {seconds:9.3f} s")
    print(f"  {'peak memory':42} {peak:9.0f} MiB")
    print(f"  {'plain numpy float64 / ours':42} {results['ratio_to_plain_numpy']:9} x")
    print(json.dumps(results))
    if output:
        output.write_text(json.dumps(results, indent=1) + "\n")


IN_CPU_SECONDS = """
import runpy, sys, time
time.perf_counter = time.process_time
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a checkout's bench, whatever else the machine does beside."""


def in_turns(other: Path, repeats: int, accounts: int) -> None:
    """Run this checkout's bench and another's in turns; the first run of each compiles and is dropped."""
    here = Path(__file__).parents[1]
    found: dict[Path, list[dict[str, float]]] = {here: [], other: []}
    for repeat in range(repeats + 1):
        for checkout, runs in found.items():
            with tempfile.NamedTemporaryFile(suffix=".json") as file:
                options = ["--accounts", str(accounts), "--json", file.name]
                command = [sys.executable, "-c", IN_CPU_SECONDS, f"{checkout}/bench/assess.py", *options]
                environment = os.environ | dict.fromkeys(ONE_CORE, "1") | {"PYTHONPATH": str(checkout)}
                subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)
                told = json.loads(Path(file.name).read_text())
            if repeat:
                runs.append({**told["seconds"], "peak_memory_mib": told["peak_memory_mib"]})
    ours, theirs = found.values()
    print(f"{accounts} accounts, {repeats} runs each in turns, one core: CPU seconds, this over that, least and median")
    for name in ours[0]:
        sides = [[run[name] for run in runs] for runs in (ours, theirs) if name in runs[0]]
        if len(sides) == 2:
            least, middle = ([take(side) for side in sides] for take in (min, statistics.median))
            print(f"  {name:42} {ratio(least)}   {ratio(middle)}")


def ratio(sides: Sequence[float]) -> str:
    return f"{sides[0]:9.3f} /{sides[1]:9.3f} = {sides[0] / sides[1]:5.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--against", type=Path, default=None)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.against is not None:
        in_turns(chosen.against.resolve(), chosen.repeats, chosen.accounts)
        sys.exit()
    if any(os.environ.get(name) != "1" for name in ONE_CORE):  # read by the libraries when they are imported
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | dict.fromkeys(ONE_CORE, "1"))
    main(chosen.accounts, chosen.json)
