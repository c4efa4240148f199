"""The steps of a round, and what storage keeps of it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from riskschema.instruments import ChainId, VenueId
from riskschema.units import Address, Hash32


class RoundStep(StrEnum):
    """The steps of a round in order: the round loop follows this list, and crash tests kill the node at each."""

    OBSERVE = "observe"
    PROPOSE = "propose"
    OUTCOME = "outcome"
    READ = "read"
    ASSESS = "assess"
    REPORT = "report"
    SIGN = "sign"
    CERTIFY = "certify"
    PUBLISH = "publish"


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message kept whole before it is sent. (round, kind, sender) is unique."""

    round: int
    kind: str
    sender: str
    payload: bytes


class StoredEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Two messages that one operator signed and that contradict each other. (round, kind, sender) is unique."""

    round: int
    kind: str
    sender: str
    first: bytes
    second: bytes


class StoredAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account in a report: its leaf, with what proves, explains and caused it."""

    subject: Address
    leaf: bytes
    """Canonical ABI encoding."""
    proof: tuple[Hash32, ...]
    assessment: bytes
    """JSON of the Assessment."""
    portfolio: bytes | None = None
    """JSON of the Portfolio, as read at the round's blocks; None: kept by a version that did not store it."""


class StoredReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report that this node computed, or that a quorum certified. (config_digest, round, report_hash) is unique."""

    config_digest: Hash32
    round: int
    report_hash: Hash32
    header: bytes
    """Canonical ABI encoding."""
    state: bytes
    """The state after the round, canonical encoding: the parent state of the next."""
    certificate: bytes | None
    """Canonical encoding, once a quorum signed."""


class UnprovedBooks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lists of holders of one venue that nobody can prove complete: no contract tells their total."""

    venue: VenueId
    """The protocol deployment."""
    books: tuple[str, ...]
    """By name."""


class ChainWitnesses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many endpoints gave each answer about a chain alike."""

    chain_id: ChainId
    """The chain."""
    witnesses: int
    """1: the word of one endpoint at a time, which nobody confirms."""


class RoundReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a report leaves out, and whose word it is; not signed."""

    small: int
    """Accounts that hold and owe less than the smallest size."""
    beyond_caps: int
    """Accounts for which the caps leave no room."""
    aside: int
    """Holdings, of all accounts together, whose worth nobody can tell and that back no debt."""
    unproved: tuple[UnprovedBooks, ...]
    """By venue."""
    chains: tuple[ChainWitnesses, ...]
    """This node's endpoints; other operators have others."""


class StoredHour(msgspec.Struct, frozen=True, kw_only=True):
    """A completed hour of the network's price table. (config_digest, hour) is unique."""

    hour: int
    """Unix time at which the hour begins."""
    row: bytes
    """Canonical encoding."""


class StoreSize(msgspec.Struct, frozen=True, kw_only=True):
    """What a store takes on the disk, in bytes."""

    used: int
    free: int
    """Given back by deleted rounds and used again before the file grows; the file itself never shrinks."""


class StoredTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction kept before it is broadcast.

    (config_digest, chain_id, sender, nonce) is unique; a replacement overwrites. The digest is part of the key because
    a fresh local chain has the same chain id and starts every sender at nonce 0 again.
    """

    config_digest: Hash32
    """Config digest: it contains the genesis hash of the chain."""
    chain_id: int
    sender: Address
    nonce: int
    round: int
    raw: bytes
    hash: Hash32
    replaced: tuple[Hash32, ...] = ()
    """Hashes broadcast earlier with the same nonce, oldest first: any of them may still be the one that lands."""
    max_fee_per_gas: int
    max_priority_fee_per_gas: int
    status: str
    """``pending``, ``landed`` (may still be reorganised away), ``final``, ``failed``, ``abandoned``."""
    block_number: int | None
    gas_used: int | None
