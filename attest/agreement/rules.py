"""What a round needs of the committee and of the parameters, worked out once."""

from typing import Self

import msgspec

from attest.encoding.abi_types import Uint32, Uint64
from attest.encoding.keccak import keccak256
from attest.encoding.typed_data import hash_struct
from attest.formats.committee import Committee, config_digest
from attest.formats.eip712 import digest_in_domain, domain_separator
from attest.formats.quorums import at_least_one_honest, available, byzantine, honest_majority
from riskschema.errors import InvalidData


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
    """Numbers of the agreement that may change without a rotation; part of the parameters hashed into each report."""

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


class AgreementRules(msgspec.Struct, frozen=True, kw_only=True):
    """A committee and its parameters, with what follows from them."""

    committee: Committee
    parameters: AgreementParameters
    config_digest: bytes
    domain_separator: bytes
    leaders: tuple[int, ...]
    """Operator indices; round r is led by entry r mod n."""

    @classmethod
    def of(cls, committee: Committee, parameters: AgreementParameters | None = None) -> Self:
        """Work out the rules of a committee.

        Raises:
            InvalidData: the committee is none, or a parameter that divides is zero.
        """
        chosen = parameters or AgreementParameters()
        _check(chosen)
        digest = config_digest(committee)
        return cls(
            committee=committee,
            parameters=chosen,
            config_digest=digest,
            domain_separator=domain_separator(committee.destinations),
            leaders=leader_order(digest, len(committee.operators)),
        )

    @property
    def n(self) -> int:
        """Number of operators."""
        return len(self.committee.operators)

    @property
    def one_honest(self) -> int:
        """The quorum f + 1."""
        return at_least_one_honest(self.n)

    @property
    def majority(self) -> int:
        """The quorum 2f + 1."""
        return honest_majority(self.n)

    @property
    def certifying(self) -> int:
        """The Byzantine quorum ⌊(n + f)/2⌋ + 1."""
        return byzantine(self.n)

    @property
    def answering(self) -> int:
        """The quorum n - f."""
        return available(self.n)

    @property
    def places(self) -> int:
        """How many on-demand accounts one operator may have in the reports at a time."""
        return max(self.parameters.request_capacity // self.n, 1)

    @property
    def interval_ms(self) -> int:
        """Length of a slot."""
        return 1_000 * self.committee.round_interval_seconds

    @property
    def parameters_hash(self) -> bytes:
        """EIP-712 struct hash of the agreement's parameters, to be hashed into the header's `parameters_hash`."""
        return hash_struct(self.parameters)

    def leader(self, round_number: int) -> int:
        """Return the operator that leads a round."""
        return self.leaders[round_number % self.n]

    def slot_start(self, round_number: int) -> int:
        """Return the Unix time at which a round's slot begins, in seconds."""
        return self.committee.genesis_time + round_number * self.committee.round_interval_seconds

    def slot_start_ms(self, round_number: int) -> int:
        """Return the Unix time at which a round's slot begins, in milliseconds."""
        return 1_000 * self.slot_start(round_number)

    def proposal_deadline_ms(self, round_number: int) -> int:
        """Return the Unix milliseconds from which a leader proposes although some factors lack votes."""
        grace = self.interval_ms * self.parameters.proposal_grace_ppm // 1_000_000
        return self.slot_start_ms(round_number) + grace

    def agrees_on(self, factor: str) -> bool:
        """Say whether votes on a factor count."""
        return not self.parameters.factors or factor in self.parameters.factors

    def chain(self, chain_id: int) -> ChainParameters:
        """Return how the blocks of a chain are named and pinned."""
        named = (each for each in self.parameters.chains if each.chain_id == chain_id)
        return next(named, ChainParameters(chain_id=chain_id))

    def share_digest(self, report_hash: bytes) -> bytes:
        """Return the 32 bytes that an attestation key signs for a report (EIP-712)."""
        return digest_in_domain(self.domain_separator, report_hash)


def _check(parameters: AgreementParameters) -> None:
    chains = [each.chain_id for each in parameters.chains]
    for name, listed in (("chains", chains), ("factors", parameters.factors)):
        if list(listed) != sorted(set(listed)):  # type: ignore[type-var]
            raise _invalid(f"{name} must be in increasing order, each named once")
    if not all(each.pin_stride for each in parameters.chains):
        raise _invalid("pin_stride must be above zero")


def _invalid(reason: str) -> InvalidData:
    return InvalidData(f"agreement parameters: {reason}", code="invalid_settings")


def leader_order(digest: bytes, n: int) -> tuple[int, ...]:
    """Return a permutation of the operators drawn from the config digest (Fisher-Yates, keccak as the source)."""
    order = list(range(n))
    for last in range(n - 1, 0, -1):
        draw = int.from_bytes(keccak256(digest + last.to_bytes(4, "big")), "big")
        other = draw % (last + 1)
        order[last], order[other] = order[other], order[last]
    return tuple(order)
