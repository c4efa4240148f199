"""What a round agrees on, as a value, and the roots under which the report header commits to it."""

from collections.abc import Sequence

import msgspec

from attest.encoding.abi_types import Bytes32, Uint64, Uint128, encode_struct
from attest.encoding.keccak import keccak256
from attest.encoding.merkle import build_tree
from attest.encoding.typed_data import type_hash
from attest.wire.messages import ReportReference
from riskschema.instruments import FactorId
from riskschema.portfolio import BlockReference
from riskschema.units import Address, Wad


class AgreedValue(msgspec.Struct, frozen=True, kw_only=True):
    """The agreed value of one factor."""

    factor: FactorId
    value: Wad
    """US dollars per unit, 18 decimals."""
    confidence: Wad
    """Half-width in US dollars."""
    voted_at: int
    """`observed_at` of the round whose votes made the value."""
    stale: bool
    """True when this round had no majority of votes and the parent's value was kept."""


class OnDemandAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account that somebody asked for."""

    address: Address
    operator: int
    """Who asked first: it takes one of that operator's places."""
    last_round: int
    """The last round that includes it."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The agreed input of one round's assessment; nothing after it looks at "latest"."""

    round: int
    parent: ReportReference
    observed_at: int
    """Median of the operators' clocks, Unix seconds, after the parent's."""
    valid_until: int
    pins: tuple[BlockReference, ...]
    """One block per chain, by chain id; a chain without one is out of the round."""
    values: tuple[AgreedValue, ...]
    """By factor; a factor that is not here is unavailable."""
    on_demand: tuple[OnDemandAccount, ...]
    """Accounts asked for, by address."""

    def value(self, factor: str) -> AgreedValue | None:
        """Return the agreed value of a factor, or None where it is unavailable."""
        return next((value for value in self.values if value.factor == factor), None)


class PinLeaf(msgspec.Struct, frozen=True, kw_only=True):
    """A pin as a leaf of the pins tree."""

    chain_id: Uint64
    number: Uint64
    timestamp: Uint64
    block_hash: Bytes32


class ValueLeaf(msgspec.Struct, frozen=True, kw_only=True):
    """A factor's value as a leaf of the market tree."""

    factor: Bytes32
    """keccak of the factor's name."""
    value: Uint128
    confidence: Uint128
    voted_at: Uint64


def pins_root(pins: Sequence[BlockReference]) -> bytes:
    """Return the Merkle root of the pins (`PinLeaf`), as in the report header."""
    leaves = [
        PinLeaf(chain_id=pin.chain_id, number=pin.number, timestamp=pin.timestamp, block_hash=pin.hash.to_bytes())
        for pin in pins
    ]
    return build_tree([_leaf_hash(leaf) for leaf in leaves]).root


def values_root(values: Sequence[AgreedValue]) -> bytes:
    """Return the Merkle root of the agreed values (`ValueLeaf`)."""
    leaves = [
        ValueLeaf(
            factor=keccak256(value.factor.encode()),
            value=value.value,
            confidence=value.confidence,
            voted_at=value.voted_at,
        )
        for value in values
    ]
    return build_tree([_leaf_hash(leaf) for leaf in leaves]).root


def _leaf_hash(leaf: PinLeaf | ValueLeaf) -> bytes:
    return keccak256(keccak256(type_hash(type(leaf)) + encode_struct(leaf)))
