"""The agreement's parameters: the same at all operators, because the committee's digest covers them."""

import msgspec

from attest.encoding.abi_types import Uint32, Uint64
from attest.encoding.canonical_bytes import MAX_TEXT_BYTES
from riskschema.errors import InvalidData

PPM = 1_000_000
MAX_FACTORS = 2_000


class ChainParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the blocks of one chain are named and pinned."""

    chain_id: Uint64
    pin_stride: Uint32 = 1
    """Observers name blocks whose number is a multiple of this, so that they name the same ones."""
    confirmations: Uint32 = 0
    """Observers name no block with fewer blocks above it: where one endpoint sees a head, the others know it too."""
    max_pin_age_seconds: Uint32 = 900
    """A chain whose best agreed block is older is out of the round: its state says nothing about now."""


class AgreementParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers of the agreement that are tuned with experience."""

    chains: tuple[ChainParameters, ...] = ()
    """By chain id; a chain that is not here has the values that `ChainParameters` has by itself."""
    factors: tuple[str, ...] = ()
    """Names that are agreed on, ascending; votes on others count for nothing. Empty: whatever 2f + 1 vote on."""
    max_value_age_seconds: Uint32 = 600
    """How long a factor without a majority of votes keeps its last value."""
    max_confidence_ppm: Uint32 = 500_000
    """Bound of a confidence, as a share of the value: half the price says nothing any more."""
    request_lifetime_rounds: Uint32 = 100
    """How many rounds an on-demand account stays in the reports."""
    request_capacity: Uint32 = 1_000
    """Most on-demand accounts at a time; each operator has its n-th part of the places."""
    proposal_grace_ppm: Uint32 = 200_000
    """Share of the slot that a leader waits for factors to reach a majority of votes."""
    smallest_account_usd: Uint32 = 0
    """Accounts that hold and owe less at the venues are left out, unless they were asked for."""
    max_shrink_ppm: Uint32 = 500_000
    """A report with fewer accounts than its parent by more than this share is not signed."""


BOUNDS: dict[str, tuple[int, int]] = {
    "max_value_age_seconds": (0, 86_400),
    "max_confidence_ppm": (1, PPM),
    "request_lifetime_rounds": (1, 1_000_000),
    "request_capacity": (0, 100_000),
    "proposal_grace_ppm": (0, PPM),
    "smallest_account_usd": (0, 2**32 - 1),
    "max_shrink_ppm": (0, PPM),
}
"""Lowest and highest value of each number."""
CHAIN_BOUNDS: dict[str, tuple[int, int]] = {
    "pin_stride": (1, 1_000_000),
    "confirmations": (0, 10_000),
    "max_pin_age_seconds": (1, 86_400),
}


def check_parameters(parameters: AgreementParameters) -> None:
    """Refuse what could not agree.

    Raises:
        InvalidData: naming the field: a number out of its bounds, a list out of order, a name that is none.
    """
    for name, bounds in BOUNDS.items():
        _check_number(getattr(parameters, name), name, bounds)
    for index, chain in enumerate(parameters.chains):
        for name, bounds in CHAIN_BOUNDS.items():
            _check_number(getattr(chain, name), f"chains[{index}].{name}", bounds)
    _check_increasing([each.chain_id for each in parameters.chains], "chains")
    _check_increasing(parameters.factors, "factors")
    if len(parameters.factors) > MAX_FACTORS:
        raise _invalid(f"factors are more than {MAX_FACTORS:,}")
    for index, factor in enumerate(parameters.factors):
        if not factor.isprintable() or not 0 < len(factor.encode()) <= MAX_TEXT_BYTES:
            raise _invalid(f"factors[{index}] must be a name of 1 to {MAX_TEXT_BYTES} bytes")


def _check_number(value: int, name: str, bounds: tuple[int, int]) -> None:
    lowest, highest = bounds
    if not lowest <= value <= highest:
        raise _invalid(f"{name} is {value:,}: it must be from {lowest:,} to {highest:,}")


def _check_increasing(listed: list[int] | tuple[str, ...], name: str) -> None:
    if list(listed) != sorted(set(listed)):  # type: ignore[type-var]
        raise _invalid(f"{name} must be in increasing order, each named once")


def _invalid(reason: str) -> InvalidData:
    return InvalidData(f"agreement parameters: {reason}", code="invalid_settings")
