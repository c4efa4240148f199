"""What a round needs of the committee and of the parameters, worked out once."""

from typing import Self

import msgspec

from attest.encoding.keccak import keccak256
from attest.encoding.typed_data import hash_struct
from attest.formats.committee import Committee, config_digest
from attest.formats.eip712 import digest_in_domain, domain_separator
from attest.formats.parameters import AgreementParameters, ChainParameters
from attest.formats.quorums import at_least_one_honest, available, byzantine, honest_majority


class AgreementRules(msgspec.Struct, frozen=True, kw_only=True):
    """A committee and its parameters, with what follows from them."""

    committee: Committee
    config_digest: bytes
    domain_separator: bytes
    leaders: tuple[int, ...]
    """Operator indices; round r is led by entry r mod n."""

    @classmethod
    def of(cls, committee: Committee) -> Self:
        """Work out the rules of a committee.

        Raises:
            InvalidData: the committee is none, or a parameter makes no sense.
        """
        digest = config_digest(committee)
        return cls(
            committee=committee,
            config_digest=digest,
            domain_separator=domain_separator(committee.destinations),
            leaders=leader_order(digest, len(committee.operators)),
        )

    @property
    def parameters(self) -> AgreementParameters:
        """The agreement's parameters."""
        return self.committee.parameters

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

    def half_slot_ms(self, round_number: int) -> int:
        """Return the Unix milliseconds of the middle of a round's slot."""
        return self.slot_start_ms(round_number) + self.interval_ms // 2

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


def leader_order(digest: bytes, n: int) -> tuple[int, ...]:
    """Return a permutation of the operators drawn from the config digest (Fisher-Yates, keccak as the source)."""
    order = list(range(n))
    for last in range(n - 1, 0, -1):
        draw = int.from_bytes(keccak256(digest + last.to_bytes(4, "big")), "big")
        other = draw % (last + 1)
        order[last], order[other] = order[other], order[last]
    return tuple(order)
