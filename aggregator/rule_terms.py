"""What a venue rule is to the engine: a sum of weighted positions that must not fall below zero."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from riskschema.instruments import FactorId, Instrument
from riskschema.portfolio import OracleKind, Silo, VenueOracle
from riskschema.units import WAD, Wad


class Cash(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="cash"):
    """Settlement cash in a venue's numeraire. Quantity: 10^-18."""

    factor: FactorId


RowInstrument = Instrument | Cash


class RuleRow(msgspec.Struct, frozen=True, kw_only=True, gc=False, cache_hash=True):
    """What makes a rule row unique: the instrument, the venue oracle's answer, and what the oracle follows."""

    instrument: RowInstrument
    numeraire: FactorId
    price: Wad | None
    """The venue oracle's answer per whole unit in the numeraire; None: the venue follows the market."""
    oracle: VenueOracle | None = None
    """What is known of the oracle behind the price."""
    numeraire_oracle: OracleKind = "market"
    """How it sees the numeraire."""

    @property
    def kind(self) -> OracleKind:
        """Return what the oracle follows; the market where nobody told."""
        return "market" if self.oracle is None else self.oracle.kind


class RuleTerm(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One addend of a venue's health: so much of a row."""

    row: RuleRow
    weighted: int
    """Quantity times weight, in 10^-18 base units, signed."""
    gross: int
    """Quantity in base units, signed."""
    bonus_ppm: int = 0


class LinearRule(msgspec.Struct, frozen=True, kw_only=True):
    """A silo is liquidatable when the sum of its terms is negative."""

    terms: tuple[RuleTerm, ...]
    close_factor_ppm: int
    settlement: tuple[tuple[Cash, int], ...] = ()
    """Cash owed or due that is no position of its own, in 10^-18 of the numeraire."""


RuleReader = Callable[[Silo], LinearRule | None]
"""Reads a silo's rule; None where the rule cannot be followed along paths."""


def parts_per_million(share: Wad) -> int:
    """Return a share in parts per million, rounded up."""
    return -(-int(share) * 1_000_000 // WAD)
