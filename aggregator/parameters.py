"""The versioned parameter file: every constant of the model, and its hash."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from aggregator.consistency import violations
from aggregator.parameter_tables import (
    ByGroup,
    Concentration,
    Correlation,
    DeltaFloor,
    Grid,
    Horizon,
    Liquidation,
    Liquidity,
    Margin,
    Offsets,
    Oracles,
    Paths,
    Pegs,
    ProbabilityModel,
    Proxy,
    Regime,
    Shortfall,
    Stress,
    Table,
    Volatility,
)
from riskschema.codec import from_builtins
from riskschema.errors import InvalidData
from riskschema.market import Factor
from riskschema.units import Hash32

DEFAULT_PATH = Path(__file__).with_name("parameters.toml")


class ParameterValues(Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    model_version: Annotated[int, Meta(ge=1, le=2_147_483_647)]
    factors: tuple[Factor, ...]
    """The factor list: one list, one order."""
    horizon: Horizon
    paths: Paths
    proxy: Proxy
    pegs: Pegs
    oracles: Oracles
    volatility: Volatility
    regime: Regime
    correlation: Correlation
    shortfall: Shortfall
    delta_floor: DeltaFloor
    grid: Grid
    stress: Stress
    liquidity: Liquidity
    concentration: Concentration
    offsets: Offsets
    margin: Margin
    static_margin: ByGroup
    probability: ProbabilityModel
    liquidation: Liquidation


class Parameters(ParameterValues, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file and the SHA-256 of its bytes."""

    hash: Hash32

    @property
    def history_window_hours(self) -> int:
        """Hours of history that the blocks and the volatility at their starts are made of."""
        return self.paths.maximum_blocks * self.paths.stride_hours + self.volatility.warm_up_hours + 1


def parse_parameters(document: bytes, *, what: str) -> Parameters:
    """Read a parameter file.

    Args:
        document: UTF-8 TOML.
        what: Where it came from; begins the error message.

    Raises:
        InvalidData: not TOML, an unknown or missing key, a value out of range, or values that do not fit
            together, named by their path.
    """
    try:
        tree: dict[str, Any] = tomllib.loads(document.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidData(f"{what}: {error}", code="invalid_document") from error
    values = from_builtins(tree, ParameterValues, what=what)
    broken = next(violations(values), None)
    if broken is not None:
        raise InvalidData(f"{what}: {broken}", code="invalid_document")
    fields = {name: getattr(values, name) for name in values.__struct_fields__}
    return Parameters(**fields, hash=Hash32(hashlib.sha256(document).digest()))


def load_parameters(path: Path | None = None) -> Parameters:
    """Read a parameter file, or the one shipped with the package.

    Raises:
        InvalidData: the file cannot be read, or `parse_parameters` refuses it.
    """
    chosen = path or DEFAULT_PATH
    try:
        document = chosen.read_bytes()
    except OSError as error:
        raise InvalidData(f"{chosen}: {error.strerror}", code="file_unreadable") from error
    return parse_parameters(document, what=str(chosen))
