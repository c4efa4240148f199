"""A market state from a file: what `assess` is given, or what an earlier round recorded."""

from __future__ import annotations

from pathlib import Path

from riskschema.codec import MAX_DOCUMENT_BYTES, decode_json
from riskschema.errors import InvalidData
from riskschema.market import FactorQuote, MarketState


def load_market(path: Path) -> MarketState:
    """Read a market state from a JSON file.

    Raises:
        InvalidData: the file cannot be read, or naming the field that is wrong.
    """
    try:
        with path.open("rb") as stream:
            document = stream.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise InvalidData(f"market {path}: {error.strerror}", code="file_unreadable") from error
    return decode_json(document, MarketState, what=str(path))


class RecordedMarket:
    """The quotes of a recorded market state as a `MarketSource`.

    Args:
        state: The recording.
        name: Its file, say.
    """

    def __init__(self, state: MarketState, name: str) -> None:
        self.state = state
        self._name = f"recorded:{name}"

    @property
    def name(self) -> str:
        """What the provenance of a quote says."""
        return self._name

    async def quotes(self) -> tuple[FactorQuote, ...]:
        """Return the recorded quotes."""
        return self.state.quotes
