"""`plimsoll parameters`: what the model's constants are, how two files differ, and how the fitted ones are found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import msgspec

from adapters.history.alignment import load_history
from adapters.history.matrices import read_matrices
from aggregator.parameters import load_parameters
from backtest.fitting import as_toml, fit
from backtest.prices import join
from node.commands.assess import history_files
from node.commands.measuring.backtest import day
from riskschema.codec import encode_json
from riskschema.errors import InvalidData

Line = tuple[str, object]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter file, flat."""

    hash: str
    """What every report names."""
    values: dict[str, object]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One constant that two files do not share; null where a file has none of the name."""

    name: str
    first: object
    second: object


def show_parameters(file: Path | None, name: str, *, as_json: bool) -> None:
    """Print every constant whose path begins with `name`.

    Raises:
        InvalidData: the file is no parameter file, or nothing begins so.
    """
    found = load_parameters(file)
    values = {path: value for path, value in _lines(file) if path.startswith(name)}
    if not values:
        raise InvalidData(f"no parameter begins with {name}: see plimsoll parameters show", code="invalid_settings")
    shown = Shown(hash=str(found.hash), values=values)
    if as_json:
        click.echo(encode_json(shown))
        return
    width = max(map(len, values))
    for path, value in values.items():
        click.echo(f"{path:<{width}}  {_text(value)}")
    click.echo(f"hash {shown.hash}", err=True)


def compare_parameters(first: Path, second: Path | None, *, as_json: bool) -> None:
    """Print the constants that differ; without a second file those of the package are compared with.

    Raises:
        InvalidData: a file is no parameter file.
    """
    old, new = dict(_lines(first)), dict(_lines(second))
    differences = [
        Difference(name=path, first=old.get(path), second=new.get(path))
        for path in dict.fromkeys((*old, *new))
        if old.get(path) != new.get(path)
    ]
    if as_json:
        click.echo(encode_json(differences))
        return
    for item in differences:
        click.echo(f"{item.name}: {_text(item.first)} -> {_text(item.second)}")
    click.echo(f"{len(differences)} of {len(new)} differ", err=True)


def fit_parameters(
    data: Path, history: Sequence[str], *, until: str | None, parameters_file: Path | None, as_json: bool
) -> None:
    """Fit the volatility forecast to hourly prices and print the tables that belong into the parameter file.

    Raises:
        InvalidData: a file is wrong, or no factor has enough hours; or SciPy is not installed.
    """
    longer = [load_history({factor: files}).history for factor, files in history_files(history).items()]
    prices = join([*read_matrices(data), *longer])
    click.echo(f"fitting to {len(prices.factors)} factors; this takes about a minute", err=True)
    found = fit(prices, load_parameters(parameters_file), until=day(until, "--to"))
    click.echo(encode_json(found) if as_json else as_toml(found), nl=as_json)


def _lines(file: Path | None) -> Iterator[Line]:
    values: dict[str, object] = msgspec.json.decode(encode_json(load_parameters(file)))
    return _flat("", {name: value for name, value in values.items() if name != "hash"})


def _flat(path: str, value: object) -> Iterator[Line]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{path}.{name}" if path else str(name), inner)
    elif isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        for item in value:
            yield from _flat(f"{path}.{item['name']}", {name: inner for name, inner in item.items() if name != "name"})
    else:
        yield path, value


def _text(value: object) -> str:
    return "none" if value is None else encode_json(value).decode()
