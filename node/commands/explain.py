"""`plimsoll explain`: an assessment in sentences, and what would improve it."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from node.commands.assess import improved_files
from node.explaining.sentences import sentences
from riskschema.assessment import Assessment, Improvement
from riskschema.codec import encode_json


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints."""

    assessment: Assessment
    sentences: tuple[str, ...]
    improvements: tuple[Improvement, ...]


def explain_files(
    portfolio_file: Path, market_file: Path, *, history: tuple[str, ...], parameters_file: Path | None, as_json: bool
) -> None:
    """Assess one portfolio document under one market document and say in sentences what was found.

    Raises:
        InvalidData: naming the file and the field that is wrong; nothing is printed.
    """
    found = improved_files(portfolio_file, market_file, history=history, parameters_file=parameters_file)
    lines = tuple(sentences(found.assessment, found.changes, found.portfolio))
    if as_json:
        explanation = Explanation(assessment=found.assessment, sentences=lines, improvements=found.changes)
        click.echo(encode_json(explanation))
    else:
        click.echo("\n".join(lines))
