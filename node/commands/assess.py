"""`plimsoll assess`: margin and score from files, without a chain."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from node.settings import read_text
from riskschema.assessment import Assessment
from riskschema.codec import MAX_DOCUMENT_BYTES, decode_json, encode_json
from riskschema.errors import InvalidData
from riskschema.market import HourlyHistory, MarketState
from riskschema.portfolio import Portfolio


def assess_files(
    portfolio_file: Path,
    market_file: Path,
    *,
    history: tuple[Path, ...],
    parameters_file: Path | None,
    as_json: bool,
) -> None:
    """Assess one portfolio document under one market document and print the result."""
    portfolio = decode_json(_read(portfolio_file), Portfolio, what=str(portfolio_file))
    market = decode_json(_read(market_file), MarketState, what=str(market_file))
    if history:
        market = msgspec.structs.replace(market, history=_history(history))
    assessment = _assess(portfolio, market, parameters_file)
    if as_json:
        click.echo(encode_json(assessment))
    else:
        from node.commands.output import assessment_table, print_table  # noqa: PLC0415

        print_table(assessment_table(assessment))


def _assess(portfolio: Portfolio, market: MarketState, parameters_file: Path | None) -> Assessment:
    from aggregator.assess import assess  # noqa: PLC0415
    from aggregator.parameters import load_parameters  # noqa: PLC0415

    (assessment,) = assess((portfolio,), market, load_parameters(parameters_file)).assessments
    return assessment


def _history(named: tuple[Path, ...]) -> HourlyHistory:
    from adapters.markets.history import load_history  # noqa: PLC0415

    files: dict[str, list[Path]] = {}
    for item in named:
        factor, _, path = str(item).partition("=")
        if not path:
            raise InvalidData(f"--history {item}: give FACTOR=FILE, as in ETH=eth.csv", code="invalid_settings")
        files.setdefault(factor, []).append(Path(path))
    return load_history(files).history


def _read(path: Path) -> bytes:
    return read_text(path, what="document", limit=MAX_DOCUMENT_BYTES).encode()
