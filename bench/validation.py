"""Rebuild the tables of docs/validation.md: walk through the days and report on backtests, loops and young tokens.

Run: python -m bench.validation DATA_DIRECTORY [--only PART] [--every N] [--thin N] [--keep FILE] [--from-walk FILE]
     python -m bench.validation DATA_DIRECTORY --untouched     the year that nothing was chosen on, apart
--only rebuilds one part: the population's three tables, loops, young or forecast. --every N takes every N-th day of the
population's walk, --thin N of those of loops and of young tokens; each of the three takes one or two seconds a day.
--keep writes the population's walk for `bench/alternatives.py`.
"""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from adapters.history.matrices import read_matrices
from aggregator.parameters import Parameters, load_parameters
from aggregator.scenarios.volatility import COMPONENTS, components, recursions
from backtest.fitting import DAY, quasi_likelihood, sampled
from backtest.margin import margin_report
from backtest.population import group_of
from backtest.prices import HOUR, UNIT, Prices, join
from backtest.report import Bar, Report, Table, date, markdown, table_lines
from backtest.score import score_report
from backtest.var import var_report
from backtest.walk import Walk
from bench import loops, young
from node.commands.measuring.backtest import day, walked
from riskschema.market import VOLATILE_GROUPS

Measured = Callable[[Path, range, Parameters], tuple[tuple[int, ...], tuple[Bar, ...], tuple[Table, ...]]]
PAGE = Path(__file__).parents[1] / "docs" / "validation.md"
FIRST, UNTOUCHED, END = "2021-11-01", "2024-03-25", "2025-03-25"
"""Parameters were fitted before the first day; nothing was chosen on the days from the second on."""
REPORTS = {"var": var_report, "score": score_report, "margin": margin_report}
Apart = Literal["loops", "young"]
APART: dict[Apart, Measured] = {"loops": loops.measured, "young": young.measured}
PARTS = ("population", *APART, "forecast")


def forecast_table(prices: Prices, parameters: Parameters, first: int, last: int) -> Table:
    """Quasi-likelihood loss of every component and of the mixture, by group, on days after the fit."""
    rows = []
    for group in VOLATILE_GROUPS:
        weights = parameters.volatility.mixture.of(group)
        found, came = [], []
        for place, factor in enumerate(prices.factors):
            line = prices.close[place]
            known = np.flatnonzero(line[: prices.hour(last)])
            if group_of(factor) != group or known.size < prices.hour(last) - prices.hour(first) + 30 * DAY:
                continue
            returns = np.diff(np.log(line[known] / UNIT))
            expected = np.empty((returns.size + 1, len(COMPONENTS)))
            components(returns, recursions(parameters.volatility, group), expected)
            part = sampled(expected, returns, int(prices.hour(first) - known[0]))
            found.append(part[0])
            came.append(part[1])
        if found:
            pooled, realised = np.concatenate(found), np.concatenate(came)
            mixed = pooled @ np.array([getattr(weights, name) for name in COMPONENTS])
            losses = [quasi_likelihood(pooled[:, place], realised) for place in range(len(COMPONENTS))]
            rows.append((group, len(found), *losses, quasi_likelihood(mixed, realised)))
    return Table(
        title="Quasi-likelihood loss of the forecast of the next day's variance, after the fit",
        columns=("group", "factors", *COMPONENTS, "mixture"),
        rows=tuple(rows),
    )


def written(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    head, rest = page.split(begin, 1)
    return f"{head}{begin}{text}{end}{rest.split(end, 1)[1]}"


def apart(kind: Apart, folder: Path, days: range, parameters: Parameters) -> Report:
    """Return the report on loops, or on young tokens, on some days as Unix times."""
    seen, bars, found = APART[kind](folder, days, parameters)
    return Report(
        kind=kind,
        parameters_hash=str(parameters.hash),
        first_day=date(seen[0]),
        last_day=date(seen[-1]),
        days=len(seen),
        bars=bars,
        tables=found,
    )


def population(chosen: argparse.Namespace, first: int, last: int, parameters: Parameters) -> dict[str, str]:
    """Walk, or read a walk, and return the text of its three reports by name."""
    if chosen.from_walk:
        found: Walk = pickle.loads(chosen.from_walk.read_bytes())
    else:
        found = walked(
            chosen.data, since=first, until=last, every=chosen.every, population_file=None, parameters=parameters
        )
    if chosen.keep:
        chosen.keep.write_bytes(pickle.dumps(found))
    return {kind: markdown(report(found, parameters)) for kind, report in REPORTS.items()}


def main(chosen: argparse.Namespace) -> None:
    parameters = load_parameters()
    since, until = (UNTOUCHED, END) if chosen.untouched else (FIRST, UNTOUCHED)
    first, last = day(since, "--from"), day(until, "--to")
    assert first is not None
    assert last is not None
    parts, texts = (chosen.only,) if chosen.only else PARTS, dict[str, str]()
    if "population" in parts:
        texts |= population(chosen, first, last, parameters)
    for kind in APART:
        if kind in parts:
            days = range(first, last, chosen.thin * 24 * HOUR)
            texts[kind] = markdown(apart(kind, chosen.data, days, parameters))
    if "forecast" in parts:
        table = forecast_table(join(read_matrices(chosen.data)), parameters, first, last)
        texts["forecast"] = "\n".join([f"{table.title}:", "", *table_lines(table.columns, table.rows), ""])
    page = PAGE.read_text(encoding="utf-8")
    for name, text in texts.items():
        page = written(page, f"{'untouched ' if chosen.untouched else ''}{name}", f"\n{text}\n")
    PAGE.write_text(page, encoding="utf-8")
    print(f"{PAGE}: {', '.join(texts)}, parameters {parameters.hash}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--thin", type=int, default=1)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--untouched", action="store_true")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--from-walk", type=Path)
    main(parser.parse_args())
