"""How good the model is, and what it is made of: backtests and parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from node.cli.options import PATH, example, json_option


@click.group(short_help="Compare what the engine said on past days with what came next.")
def backtest() -> None:
    """Walk forward through past days: forecasts from the hours before, outcomes from the hours after."""


def _on_all_weekdays(_context: click.Context, _option: click.Parameter, every: int) -> int:
    """Refuse a stride of whole weeks: one weekday says nothing about the others."""
    if every % 7 == 0:
        raise click.BadParameter(f"{every} takes days of one weekday only; take {every - 2} or {every + 1}")
    return every


def _walking(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        json_option,
        click.option("--report", type=PATH, help="Write FILE.json and FILE.md; other endings are replaced."),
        click.option("--parameters", type=PATH, help="Parameter file. Default: the package's own."),
        click.option(
            "--population", type=PATH, help="Accounts, as JSON. Default: populations/accounts.json in --data."
        ),
        click.option(
            "--every",
            type=click.IntRange(1, 365),
            default=1,
            callback=_on_all_weekdays,
            help="Take one day in so many, not a multiple of 7. Default: 1.",
        ),
        click.option("--to", "until", metavar="YYYY-MM-DD", help="Stop before this day. Default: the end of the data."),
        click.option("--from", "since", metavar="YYYY-MM-DD", help="First day. Default: after a year of history."),
        click.option(
            "--data", type=PATH, required=True, help="Directory with *_1h_{close,high,low}_*.parquet, or its parent."
        ),
    ):
        command = option(command)
    return command


def _run(
    kind: Any, *, data: Path, population: Path | None, parameters: Path | None, report: Path | None, **rest: Any
) -> None:
    from node.commands.measuring.backtest import backtest as run_backtest  # noqa: PLC0415

    run_backtest(kind, data, population_file=population, parameters_file=parameters, report_file=report, **rest)


@backtest.command("var", epilog=example("plimsoll backtest var --data prices --report var.md"))
@_walking
def backtest_var(**options: Any) -> None:
    """Test the distribution of one day's losses: violations, independence, size of the tail, quantile loss."""
    _run("var", **options)


@backtest.command("score", epilog=example("plimsoll backtest score --data prices --from 2022-01-01"))
@_walking
def backtest_score(**options: Any) -> None:
    """Test the probability of liquidation: reliability, log loss, bias by regime."""
    _run("score", **options)


@backtest.command("margin", epilog=example("plimsoll backtest margin --data prices --every 5"))
@_walking
def backtest_margin(**options: Any) -> None:
    """Test the requirement: breaches, cost against fixed percentages, movement."""
    _run("margin", **options)


@click.group(short_help="Show, compare and fit the constants of the model.")
def parameters() -> None:
    """The parameter file: one versioned file of constants whose hash is in every report."""


@parameters.command("show", epilog=example("plimsoll parameters show volatility.mixture"))
@click.argument("name", default="")
@click.option("--parameters", type=PATH, help="Parameter file. Default: the package's own.")
@json_option
def parameters_show(name: str, parameters: Path | None, as_json: bool) -> None:
    """Print every constant whose path begins with NAME; the file's hash goes to standard error."""
    from node.commands.measuring.parameters import show_parameters  # noqa: PLC0415

    show_parameters(parameters, name, as_json=as_json)


@parameters.command("diff", epilog=example("plimsoll parameters diff mine.toml"))
@click.argument("first", type=PATH)
@click.argument("second", type=PATH, required=False)
@json_option
def parameters_diff(first: Path, second: Path | None, as_json: bool) -> None:
    """Print the constants in which FIRST differs from SECOND, by default from the package's own."""
    from node.commands.measuring.parameters import compare_parameters  # noqa: PLC0415

    compare_parameters(first, second, as_json=as_json)


@parameters.command("fit", epilog=example("plimsoll parameters fit --data prices --to 2021-11-01"))
@click.option("--data", type=PATH, required=True, help="Directory with *_1h_{close,high,low}_*.parquet, or its parent.")
@click.option("--history", multiple=True, metavar="FACTOR=FILE", help="Hourly candles from before; may be repeated.")
@click.option("--to", "until", metavar="YYYY-MM-DD", help="Stop before this day. Default: the end of the data.")
@click.option("--parameters", type=PATH, help="Parameter file whose half-lives are kept. Default: the package's own.")
@json_option
def parameters_fit(
    data: Path, history: tuple[str, ...], until: str | None, parameters: Path | None, as_json: bool
) -> None:
    """Fit the volatility forecast: recursions by likelihood, their weights out of sample; prints TOML tables."""
    from node.commands.measuring.parameters import fit_parameters  # noqa: PLC0415

    fit_parameters(data, history, until=until, parameters_file=parameters, as_json=as_json)
