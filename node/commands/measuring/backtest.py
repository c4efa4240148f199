"""`plimsoll backtest`: what the engine said on past days against what came next."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click

from adapters.history.matrices import read_matrices
from aggregator.parameters import Parameters, load_parameters
from backtest.margin import margin_report
from backtest.population import Population
from backtest.prices import join
from backtest.report import Report, markdown
from backtest.score import score_report
from backtest.var import var_report
from backtest.walk import Walk, walk
from node.commands.documents import read_document, require_directory_of
from riskschema.codec import decode_json, encode_json
from riskschema.errors import FatalError, InvalidData

Kind = Literal["var", "score", "margin"]
REPORTS: dict[Kind, Callable[[Walk, Parameters], Report]] = {
    "var": var_report,
    "score": score_report,
    "margin": margin_report,
}
PROGRESS_DAYS = 20


def backtest(
    kind: Kind,
    data: Path,
    *,
    since: str | None,
    until: str | None,
    every: int,
    population_file: Path | None,
    parameters_file: Path | None,
    report_file: Path | None,
    as_json: bool,
) -> None:
    """Walk through the days, print the report, and write it as JSON and as Markdown.

    Raises:
        InvalidData: an option or a file is wrong; it is named.
        FatalError: the report cannot be written.
    """
    if report_file is not None:
        require_directory_of(report_file, what="--report")
    found = walked(
        data,
        since=day(since, "--from"),
        until=day(until, "--to"),
        every=every,
        population_file=population_file,
        parameters=load_parameters(parameters_file),
    )
    report = REPORTS[kind](found, load_parameters(parameters_file))
    if report_file is not None:
        _write(report_file.with_suffix(".json"), encode_json(report) + b"\n")
        _write(report_file.with_suffix(".md"), markdown(report).encode())
    click.echo(encode_json(report) if as_json else markdown(report))


def walked(
    data: Path,
    *,
    since: int | None,
    until: int | None,
    every: int,
    population_file: Path | None,
    parameters: Parameters,
) -> Walk:
    """Read prices and population, and walk; progress goes to standard error.

    Raises:
        InvalidData: a file is wrong, or no day has what it needs.
    """
    file = population_file or data / "populations" / "accounts.json"
    population = decode_json(read_document(file, what="--population"), Population, what=f"--population {file}")
    prices = join(read_matrices(data))
    click.echo(f"{len(prices.factors)} factors, {prices.hours:,} hours; the first day compiles", err=True)
    return walk(prices, population, parameters, since=since, until=until, step=every, progress=_progress)


def day(text: str | None, option: str) -> int | None:
    """Return the Unix time at which a day begins.

    Raises:
        InvalidData: naming the option whose text is no day.
    """
    if text is None:
        return None
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise InvalidData(f"{option} {text}: give a day as YYYY-MM-DD", code="invalid_settings") from error


def _progress(done: int, days: int) -> None:
    if done % PROGRESS_DAYS == 0 or done in {1, days}:
        click.echo(f"day {done} of {days}", err=True)
        sys.stderr.flush()


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise FatalError(f"--report {file}: {error.strerror}", code="file_unreadable") from error
