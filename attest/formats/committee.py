"""The committee as one value. Its hash, the config digest, scopes every message and every signature.

The agreement's parameters are part of it, those of the model and its version are not: a release is no rotation.
"""

from itertools import pairwise

import msgspec

from attest.encoding.abi_types import AbiAddress, Bytes32, Uint32, Uint64
from attest.encoding.typed_data import hash_struct
from attest.formats.eip712 import Destination, encode_destinations
from attest.formats.parameters import AgreementParameters, check_parameters
from attest.formats.quorums import check_committee_size
from riskschema.errors import InvalidData
from riskschema.units import Address

MAX_VENUES = 64
"""One bit each in `AccountLeaf.venue_coverage`."""
MAX_CHAINS = 64


class Operator(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One member: the key that contracts check and the key that peers check."""

    signer: AbiAddress
    """Address of the secp256k1 attestation key."""
    identity: Bytes32
    """Ed25519 public key of the identity."""


class ObservedChain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A chain that is read. The genesis hash keeps a fresh local chain apart from an older one of the same id."""

    chain_id: Uint64
    genesis_hash: Bytes32


class DiscoveryRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A venue whose logs from `start_block` name the accounts to assess.

    The index of the rule in the committee is the venue's bit in `AccountLeaf.venue_coverage`.
    """

    venue: str
    chain_id: Uint64
    start_block: Uint64
    account_cap: Uint32
    """Most accounts that this venue contributes."""


class Committee(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that operators must have in common to agree, and nothing else."""

    config_count: Uint64
    """0 for the first committee; each rotation adds one."""
    operators: tuple[Operator, ...]
    """In the order of the bitmap."""
    destinations: tuple[Destination, ...]
    """Sorted by chain id and address."""
    chains: tuple[ObservedChain, ...]
    """Sorted by chain id."""
    venues: tuple[DiscoveryRule, ...]
    history_hash: Bytes32
    """Hash of the price history at genesis."""
    genesis_time: Uint64
    """Unix seconds at which round 0 begins."""
    round_interval_seconds: Uint32
    report_life_seconds: Uint32
    """validUntil - observedAt of every report."""
    account_cap: Uint32
    """Most accounts in one report."""
    requests_per_operator: Uint32
    """Most on-demand accounts one operator may name in a round."""
    parameters: AgreementParameters = AgreementParameters()

    @property
    def signers(self) -> tuple[Address, ...]:
        """Attestation addresses in the order of the bitmap."""
        return tuple(operator.signer for operator in self.operators)


def config_digest(committee: Committee) -> bytes:
    """Return EIP-712's struct hash of the committee, 32 bytes.

    Raises:
        InvalidData: the committee is not a valid one (see `check_committee`).
    """
    check_committee(committee)
    return hash_struct(committee)


def check_committee(committee: Committee) -> None:
    """Refuse what could not agree or could not be told apart.

    Raises:
        InvalidData: committee size, duplicate keys, unsorted lists, a zero interval or life, too many venues, or a
            parameter that makes no sense.
    """
    check_committee_size(len(committee.operators))
    encode_destinations(committee.destinations)
    _check_keys(committee)
    _check_sorted([chain.chain_id for chain in committee.chains], "chains")
    if len(committee.chains) > MAX_CHAINS or len(committee.venues) > MAX_VENUES:
        raise _invalid(f"more than {MAX_CHAINS} chains or {MAX_VENUES} venues")
    if len({rule.venue for rule in committee.venues}) < len(committee.venues):
        raise _invalid("a venue is named twice")
    if not {rule.chain_id for rule in committee.venues} <= {chain.chain_id for chain in committee.chains}:
        raise _invalid("a venue is on a chain that is not among the chains")
    if not (committee.round_interval_seconds and committee.report_life_seconds):
        raise _invalid("round_interval_seconds and report_life_seconds must be above zero")
    check_parameters(committee.parameters)
    if not {each.chain_id for each in committee.parameters.chains} <= {each.chain_id for each in committee.chains}:
        raise _invalid("parameters.chains names a chain that is not among the chains")


def round_at(committee: Committee, timestamp: int) -> int:
    """Return the round of a Unix time: ⌊(t - genesis)/interval⌋.

    Raises:
        InvalidData: before genesis.
    """
    if timestamp < committee.genesis_time:
        raise InvalidData(f"{timestamp} is before genesis ({committee.genesis_time})", code="invalid_settings")
    return (timestamp - committee.genesis_time) // committee.round_interval_seconds


def rounds_per_day(committee: Committee) -> int:
    """Return how many slots a day has, rounded up."""
    return -(-86_400 // committee.round_interval_seconds)


def _check_keys(committee: Committee) -> None:
    for keys in (committee.signers, [operator.identity for operator in committee.operators]):
        if len(set(keys)) < len(keys):
            raise _invalid("two operators share a key")
    if any(not any(signer.to_bytes()) for signer in committee.signers):
        raise _invalid("the zero address cannot sign")


def _check_sorted(values: list[int], what: str) -> None:
    if any(first >= second for first, second in pairwise(values)):
        raise _invalid(f"{what} must be in increasing order, each named once")


def _invalid(reason: str) -> InvalidData:
    return InvalidData(f"committee: {reason}", code="invalid_settings")
