"""What makes an observation and a proposal valid, alike for the leader who gathers and for all who check."""

from collections import Counter
from collections.abc import Container, Mapping

import msgspec

from attest.agreement.rules import AgreementRules
from attest.agreement.state import AgreedState
from attest.formats.certificate import Certificate, decode_certificate, verify_certificate
from attest.hours.hourly import MAX_PRICE, PRICE_UNIT
from attest.wire.envelope import Envelope, check_scope, check_signature, open_body, read_envelope
from attest.wire.messages import (
    GENESIS_REFERENCE,
    HEADS_PER_CHAIN,
    MessageKind,
    Observation,
    Proposal,
    ReportReference,
)
from riskschema.errors import InvalidData, ProtocolViolation

MAX_VALUE = MAX_PRICE * PRICE_UNIT
"""The highest price that the hourly table holds, 18 decimals: 9.2 million dollars."""


class CheckedProposal(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal of which everything was verified."""

    observations: dict[int, Observation]
    """By operator."""
    parent: ReportReference
    certificate: Certificate | None
    """The parent's; None: the genesis."""


def check_observation(rules: AgreementRules, observation: Observation, round_number: int) -> None:
    """Check what an honest observer never sends.

    Raises:
        ProtocolViolation: (``malformed``) blocks off the stride or of an unknown chain, a value or confidence out of
            bounds, more requests than allowed; (``stale``) a clock more than two slots away from the round's.
    """
    start = rules.slot_start_ms(round_number)
    if abs(observation.clock_ms - start) > 2 * rules.interval_ms:
        raise _violation(f"a clock at {observation.clock_ms} ms in the slot of {start} ms", "stale")
    _check_heads(rules, observation)
    for vote in observation.votes:
        if not 1 <= vote.value <= MAX_VALUE:
            raise _violation(f"a value of {vote.value} for {vote.factor}", "malformed")
        if not 0 < vote.confidence * 1_000_000 <= vote.value * max(rules.parameters.max_confidence_ppm, 1):
            raise _violation(f"a confidence of {vote.confidence} for {vote.factor} at {vote.value}", "malformed")
    if len(observation.requests) > rules.committee.requests_per_operator:
        raise _violation(f"{len(observation.requests)} requests", "malformed")


def check_proposal(
    rules: AgreementRules,
    proposal: Proposal,
    round_number: int,
    *,
    verified: Mapping[bytes, Observation] | None = None,
    certified: Container[ReportReference] = (),
) -> CheckedProposal:
    """Check a leader's proposal whole.

    Args:
        rules: The committee's.
        proposal: What the leader sent.
        round_number: Its round.
        verified: Observations that were checked before, by their whole envelopes.
        certified: Reports of which a verified certificate is held: the signatures of another are no news.

    Raises:
        ProtocolViolation: fewer than n - f observations, one that is invalid, foreign, forged or twice of a sender, or
            a parent below the one that f + 1 observers know to be certified.
    """
    observations: dict[int, Observation] = {}
    for payload in proposal.observations:
        envelope = read_envelope(payload)
        if observations and envelope.sender <= max(observations):
            raise _violation("observations out of order", "malformed")
        observations[envelope.sender] = _open_observation(rules, envelope, round_number, verified or {})
    if len(observations) < rules.answering:
        raise _violation(f"{len(observations)} observations, {rules.answering} needed", "quorum_missing")
    certificate = check_certificate(rules, proposal.parent_certificate, certified=certified)
    parent = reference_of(certificate)
    if parent.round < needed_parent_round(rules, observations):
        raise _violation(f"the parent, round {parent.round}, is older than what f + 1 operators know", "stale")
    if parent.round >= round_number:
        raise _violation(f"the parent, round {parent.round}, is not before round {round_number}", "malformed")
    return CheckedProposal(observations=observations, parent=parent, certificate=certificate)


def check_certificate(
    rules: AgreementRules, payload: bytes, *, certified: Container[ReportReference] = ()
) -> Certificate | None:
    """Read and verify a certificate; no bytes stand for the genesis.

    Args:
        rules: The committee's.
        payload: Canonical bytes.
        certified: Reports known to be certified: signatures over them are not looked at.

    Raises:
        ProtocolViolation: it does not decode, or does not verify.
    """
    if not payload:
        return None
    certificate = read_certificate(payload)
    if reference_of(certificate) not in certified:
        verify_certificate(
            certificate,
            config_digest=rules.config_digest,
            operators=rules.committee.signers,
            destinations=rules.committee.destinations,
        )
    return certificate


def read_certificate(payload: bytes) -> Certificate:
    """Read a certificate, verifying nothing.

    Raises:
        ProtocolViolation: (``malformed``) it does not decode.
    """
    try:
        return decode_certificate(payload)
    except InvalidData as error:
        raise _violation(error.message, "malformed") from error


def reference_of(certificate: Certificate | None) -> ReportReference:
    """Return the report that a certificate is about; none: the genesis."""
    if certificate is None:
        return GENESIS_REFERENCE
    return ReportReference(round=certificate.header.round, report_hash=certificate.report_hash)


def needed_parent_round(rules: AgreementRules, observations: Mapping[int, Observation]) -> int:
    """Return the highest round that at least f + 1 observers name as certified: one honest one verified it."""
    named = sorted((each.highest_certified.round for each in observations.values()), reverse=True)
    return named[rules.one_honest - 1]


def lacks_votes(rules: AgreementRules, observations: Mapping[int, Observation], parent: AgreedState) -> bool:
    """Say whether a factor that had a majority of votes in the parent has fewer than 2f + 1 now.

    Others are not waited for: whoever invents a factor would delay every leader.
    """
    votes = Counter(vote.factor for each in observations.values() for vote in each.votes)
    voted = (value.factor for value in parent.values if not value.stale)
    return any(votes[factor] < rules.majority for factor in voted if rules.agrees_on(factor))


def _open_observation(
    rules: AgreementRules, envelope: Envelope, round_number: int, verified: Mapping[bytes, Observation]
) -> Observation:
    known = verified.get(envelope.payload)
    if known is not None:
        return known
    if envelope.kind is not MessageKind.OBSERVATION:
        raise _violation(f"a {envelope.kind.name.lower()} among the observations", "malformed")
    check_scope(envelope, rules, first_round=round_number, last_round=round_number)
    check_signature(envelope, rules)
    body = open_body(envelope)
    assert isinstance(body, Observation)  # noqa: S101 - the kind was checked above
    check_observation(rules, body, round_number)
    return body


def _check_heads(rules: AgreementRules, observation: Observation) -> None:
    per_chain = Counter(head.chain_id for head in observation.heads)
    foreign = per_chain.keys() - {chain.chain_id for chain in rules.committee.chains}
    if foreign:
        raise _violation(f"chain {min(foreign)} is none of the committee's", "malformed")
    if any(count > HEADS_PER_CHAIN for count in per_chain.values()):
        raise _violation(f"more than {HEADS_PER_CHAIN} blocks of a chain", "malformed")
    if any(head.number % rules.chain(head.chain_id).pin_stride for head in observation.heads):
        raise _violation("a block off the stride", "malformed")


def _violation(reason: str, code: str) -> ProtocolViolation:
    return ProtocolViolation(f"refused: {reason}", code=code)
