"""`plimsoll history`: the genesis history of a network, from files of hourly candles."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from adapters.history.alignment import LoadedHistory, load_history
from attest.hours.table import history_hash
from node.commands.assess import history_files
from node.commands.documents import require_directory_of
from riskschema.codec import encode_json
from riskschema.errors import FatalError, InvalidData
from riskschema.units import Hash32

MAX_FILLED_ONE_IN = 10


class WrittenHistory(msgspec.Struct, frozen=True, kw_only=True):
    """What `history` wrote."""

    file: str
    hash: Hash32
    """What the committee file names."""
    factors: tuple[str, ...]
    first_hour: int
    hours: int
    filled: dict[str, int]
    """Hours that were missing and repeat the close before them, by factor."""
    late: dict[str, int]
    """Factors that begin later than the table, and how many hours they have."""


def _require_candles(loaded: LoadedHistory) -> None:
    """Refuse a factor of which too much is missing: an hour without a price counts as an hour without a move.

    Raises:
        InvalidData: naming the worst.
    """
    worst = max(loaded.filled, key=lambda gap: gap.hours, default=None)
    hours = loaded.history.hours
    if worst is not None and worst.hours * MAX_FILLED_ONE_IN > hours:
        raise InvalidData(
            f"{worst.factor}: {worst.hours:,} of {hours:,} hours are missing, {worst.longest:,} of them in one gap; at "
            f"most one in {MAX_FILLED_ONE_IN} may be: name a second file that has them ({worst.factor}=FILE again), or "
            "begin after the gap",
            code="invalid_document",
        )


def write_history(named: tuple[str, ...], output: Path, *, as_json: bool) -> None:
    """Align the candles, write them as one document, and say what is in it.

    Raises:
        InvalidData: a file is wrong, too many hours are missing, or the output exists: operators must hold the
            same bytes.
        FatalError: the output cannot be written.
    """
    files = history_files(named)
    if not files:
        raise InvalidData("give at least one FACTOR=FILE, as in ETH=eth.csv", code="invalid_settings")
    require_directory_of(output, what="--output")
    loaded = load_history(files)
    _require_candles(loaded)
    try:
        with output.open("xb") as stream:
            stream.write(encode_json(loaded.history))
    except FileExistsError as error:
        raise InvalidData(f"--output {output}: exists already, choose another name", code="file_unreadable") from error
    except OSError as error:
        raise FatalError(f"--output {output}: {error.strerror}", code="file_unreadable") from error
    written = WrittenHistory(
        file=str(output),
        hash=Hash32(history_hash(loaded.history)),
        factors=loaded.history.factors,
        first_hour=loaded.history.first_hour,
        hours=loaded.history.hours,
        filled={item.factor: item.hours for item in loaded.filled},
        late={item.factor: item.hours for item in loaded.late},
    )
    if as_json:
        click.echo(encode_json(written))
        return
    begin = datetime.fromtimestamp(written.first_hour, UTC)
    click.echo(f"{output}: {', '.join(written.factors)}, {written.hours:,} hours from {begin:%Y-%m-%d %H:%M} UTC")
    for factor, hours in written.filled.items():
        click.echo(f"  {factor}: {hours} missing hours were filled with the close before them")
    for factor, hours in written.late.items():
        click.echo(f"  {factor}: has only the last {hours:,} hours, and repeats its first close before them")
    click.echo(f"  hash {written.hash}")
