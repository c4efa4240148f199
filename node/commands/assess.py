"""`plimsoll assess`: margin and score from files, without a chain."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from node.commands.documents import STANDARD_INPUT, name_of, read_document
from riskschema.assessment import Assessment, Improvement
from riskschema.codec import decode_json, encode_json
from riskschema.errors import InvalidData
from riskschema.market import MarketState
from riskschema.portfolio import Portfolio

PATIENCE_SECONDS = 4.0

HistoryFiles = Mapping[str, Sequence[Path]]


class Improved(msgspec.Struct, frozen=True, kw_only=True):
    """A portfolio document, assessed."""

    portfolio: Portfolio
    assessment: Assessment
    changes: tuple[Improvement, ...]
    """What would earn a better grade."""


def assess_files(
    portfolio_file: Path,
    market_file: Path,
    *,
    history: tuple[str, ...],
    parameters_file: Path | None,
    as_json: bool,
) -> None:
    """Assess one portfolio document under one market document and print the result.

    Raises:
        InvalidData: naming the file and the field that is wrong; nothing is printed.
    """
    found = improved_files(portfolio_file, market_file, history=history, parameters_file=parameters_file)
    if as_json:
        click.echo(encode_json(found.assessment))
    else:
        from node.commands.output import assessment_table, print_table  # noqa: PLC0415
        from node.explaining.sentences import describe  # noqa: PLC0415

        print_table(assessment_table(found.assessment, [describe(change) for change in found.changes]))


def improved_files(
    portfolio_file: Path, market_file: Path, *, history: tuple[str, ...], parameters_file: Path | None
) -> Improved:
    """Return the assessment of a portfolio document under a market document, and what would earn a better grade.

    Raises:
        InvalidData: naming the file and the field that is wrong.
    """
    if portfolio_file == market_file == STANDARD_INPUT:
        raise InvalidData(
            "--portfolio - and --market -: standard input holds one document only", code="invalid_settings"
        )
    files = history_files(history)
    portfolio = decode_json(
        read_document(portfolio_file, what="portfolio"), Portfolio, what=f"portfolio {name_of(portfolio_file)}"
    )
    market = decode_json(read_document(market_file, what="market"), MarketState, what=f"market {name_of(market_file)}")
    with _patience():
        return _assess(portfolio, market, files, parameters_file)


def history_files(named: Sequence[str]) -> HistoryFiles:
    """Return the files of each factor, from FACTOR=FILE as often as given.

    Raises:
        InvalidData: naming the option that is no such pair, or that names a file again.
    """
    files: dict[str, list[Path]] = defaultdict(list)
    for item in named:
        factor, _, path = item.partition("=")
        if not factor or not path:
            raise InvalidData(f"--history {item}: give FACTOR=FILE, as in ETH=eth.csv", code="invalid_settings")
        if any(Path(path) in paths for paths in files.values()):
            raise InvalidData(f"--history {item}: the file is given twice", code="invalid_settings")
        files[factor].append(Path(path))
    return dict(files)


@contextmanager
def _patience() -> Iterator[None]:
    """Say what takes so long when it does."""
    said = "compiling the numeric kernels; this happens once ..."
    timer = threading.Timer(PATIENCE_SECONDS, click.echo, [said], {"err": True})
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _assess(portfolio: Portfolio, market: MarketState, files: HistoryFiles, parameters_file: Path | None) -> Improved:
    from aggregator.improvement import improvements  # noqa: PLC0415
    from aggregator.parameters import load_parameters  # noqa: PLC0415

    parameters = load_parameters(parameters_file)
    if files:
        from adapters.history.alignment import load_history  # noqa: PLC0415

        market = msgspec.structs.replace(market, history=load_history(files).history)
    assessment, changes = improvements(portfolio, market, parameters)
    return Improved(portfolio=portfolio, assessment=assessment, changes=changes)
