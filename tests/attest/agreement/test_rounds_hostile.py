"""Forged, replayed, stale, foreign and malformed messages change nothing."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.agreement.effects import CertificateNeeded, Effects, Send, StateNeeded
from attest.agreement.machine import RoundMachine
from attest.agreement.state import genesis_state
from attest.formats.certificate import assemble_certificate, encode_certificate
from attest.formats.eip712 import sign_digest
from attest.formats.header import report_hash
from attest.formats.parameters import AgreementParameters, ChainParameters
from attest.wire.envelope import seal
from attest.wire.messages import Body, FactorVote, MessageKind, Observation, Proposal, ReportReference, Share
from riskschema.errors import ProtocolViolation
from riskschema.portfolio import BlockReference
from riskschema.units import Address, Hash32, Wad
from tests.attest.agreement.round_kit import (
    CHAIN,
    Operators,
    block,
    genesis_history,
    identity,
    observation,
    private_key,
    rules,
)

ROUND = 3
RULES = rules(4)
NOW = RULES.slot_start(ROUND)
LEADER = RULES.leader(ROUND)
ME = next(index for index in range(4) if index != LEADER)
PEER = next(index for index in range(4) if index not in (LEADER, ME))


def memory(machine: RoundMachine) -> Any:
    """Everything the machine remembers, as plain values."""
    rounds = {
        each.number: {name: repr(value) for name, value in vars(each).items()} for each in machine._open.in_order()
    }
    certified = machine._certified
    return rounds, machine.current_round, certified.highest, certified.highest_certificate, sorted(certified._states)


def machine_in_round() -> RoundMachine:
    machine = RoundMachine(RULES, me=ME, sign=identity(ME).sign, state=genesis_state(RULES, genesis_history()))
    machine.on_tick(1_000 * NOW)
    return machine


def say(body: Body, *, sender: int, round_number: int = ROUND, key: int | None = None, **changes: Any) -> bytes:
    fields = {"config_digest": RULES.config_digest, "sign": identity(sender if key is None else key).sign, **changes}
    return seal(body, round_number=round_number, sender=sender, **fields)


def seen(**changes: Any) -> Observation:
    return msgspec.structs.replace(observation(NOW), **changes)


def observations(*senders: int, **changes: Any) -> tuple[bytes, ...]:
    return tuple(say(seen(**changes), sender=sender) for sender in senders)


def proposal(payloads: tuple[bytes, ...] = (), certificate: bytes = b"") -> bytes:
    return say(Proposal(observations=payloads or observations(0, 1, 2), parent_certificate=certificate), sender=LEADER)


def share(report_hash: bytes, *, signer: int, sender: int) -> bytes:
    signature = sign_digest(RULES.share_digest(report_hash), private_key(signer))
    return say(Share(report_hash=report_hash, signature=signature), sender=sender)


def certificate_of(round_number: int, signers: tuple[int, ...] = (0, 1, 2)) -> bytes:
    """A certificate of a report that nobody here computed, properly signed."""
    operators = Operators(4)
    operators.slot(1)
    header = msgspec.structs.replace(operators.certificates[0][1].header, round=round_number)
    digest = RULES.share_digest(report_hash(header))
    return encode_certificate(
        assemble_certificate(header, {index: sign_digest(digest, private_key(index)) for index in signers})
    )


VOTE = FactorVote(factor="ETH", value=Wad(10**18), confidence=Wad(1))
FOREIGN_BLOCK = BlockReference(chain_id=CHAIN + 1, number=1, hash=Hash32(bytes(32)), timestamp=NOW)

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "forged observation": (lambda: say(seen(), sender=PEER, key=LEADER), "forged"),
    "observation of another committee": (lambda: say(seen(), sender=PEER, config_digest=bytes(32)), "foreign"),
    "observation of no operator": (lambda: say(seen(), sender=4, key=PEER), "foreign"),
    "observation of a round that is over": (lambda: say(seen(), sender=PEER, round_number=ROUND - 2), "stale"),
    "observation of a round far ahead": (lambda: say(seen(), sender=PEER, round_number=ROUND + 2), "stale"),
    "observation replayed in another round": (
        lambda: say(seen(clock_ms=1_000 * (NOW + 1_000)), sender=PEER),
        "stale",
    ),
    "a value of zero": (
        lambda: say(seen(votes=(msgspec.structs.replace(VOTE, value=Wad(0)),)), sender=PEER),
        "malformed",
    ),
    "a value beyond the table": (
        lambda: say(seen(votes=(msgspec.structs.replace(VOTE, value=Wad(2**127)),)), sender=PEER),
        "malformed",
    ),
    "a confidence of zero": (
        lambda: say(seen(votes=(msgspec.structs.replace(VOTE, confidence=Wad(0)),)), sender=PEER),
        "malformed",
    ),
    "a confidence beyond the bound": (
        lambda: say(seen(votes=(msgspec.structs.replace(VOTE, confidence=Wad(10**18)),)), sender=PEER),
        "malformed",
    ),
    "a block of a foreign chain": (lambda: say(seen(heads=(FOREIGN_BLOCK,)), sender=PEER), "malformed"),
    "nine blocks of a chain": (
        lambda: say(seen(heads=tuple(block(number, timestamp=NOW) for number in range(9))), sender=PEER),
        "malformed",
    ),
    "too many requests": (
        lambda: say(seen(requests=tuple(Address(f"0x{number:040x}") for number in range(4))), sender=PEER),
        "malformed",
    ),
    "a proposal of an operator that does not lead": (
        lambda: say(Proposal(observations=observations(0, 1, 2), parent_certificate=b""), sender=PEER),
        "foreign",
    ),
    "a proposal with too few observations": (lambda: proposal(observations(0, 1)), "quorum_missing"),
    "a proposal with an observation twice": (lambda: proposal(observations(0, 1, 1)), "malformed"),
    "a proposal with observations out of order": (lambda: proposal(observations(0, 2, 1)), "malformed"),
    "a proposal with a forged observation": (
        lambda: proposal((*observations(0, 1), say(seen(), sender=2, key=7))),
        "forged",
    ),
    "a proposal with an observation of another round": (
        lambda: proposal((*observations(0, 1), say(seen(), sender=2, round_number=ROUND - 1))),
        "stale",
    ),
    "a proposal with an invalid observation": (
        lambda: proposal((*observations(0, 1), say(seen(clock_ms=0), sender=2))),
        "stale",
    ),
    "a proposal with a share among the observations": (
        lambda: proposal((*observations(0, 1), share(bytes(32), signer=2, sender=2))),
        "malformed",
    ),
    "a proposal with noise among the observations": (lambda: proposal((*observations(0, 1), b"noise")), "malformed"),
    "a proposal with a parent that is noise": (lambda: proposal(certificate=b"noise"), "malformed"),
    "a proposal with a parent that too few signed": (
        lambda: proposal(certificate=certificate_of(1, (0, 1))),
        "quorum_missing",
    ),
    "a proposal whose parent is not before it": (lambda: proposal(certificate=certificate_of(ROUND)), "malformed"),
    "a proposal whose parent is older than what f + 1 know": (
        lambda: proposal(observations(0, 1, 2, highest_certified=ReportReference(round=1, report_hash=bytes(32)))),
        "stale",
    ),
    "a share signed by another": (lambda: share(bytes(32), signer=LEADER, sender=PEER), "forged"),
    "a share that is no signature": (
        lambda: say(Share(report_hash=bytes(32), signature=bytes(65)), sender=PEER),
        "malformed",
    ),
    "noise": (lambda: b"noise", "malformed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_message_changes_nothing(name: str) -> None:
    machine = machine_in_round()
    machine.on_message(observations(LEADER)[0])
    before = memory(machine)
    make, code = REFUSED[name]
    with pytest.raises(ProtocolViolation) as caught:
        machine.on_message(make())
    assert caught.value.code == code
    assert memory(machine) == before


def test_a_block_off_the_stride_is_refused() -> None:
    strict = rules(4, AgreementParameters(chains=(ChainParameters(chain_id=CHAIN, pin_stride=2),)))
    machine = RoundMachine(strict, me=ME, sign=identity(ME).sign, state=genesis_state(strict, genesis_history()))
    machine.on_tick(1_000 * NOW)
    with pytest.raises(ProtocolViolation, match="stride"):
        machine.on_message(say(seen(), sender=PEER, config_digest=strict.config_digest))
    even = seen(heads=tuple(head for head in seen().heads if not head.number % 2))
    assert machine.on_message(say(even, sender=PEER, config_digest=strict.config_digest)) == ()


def test_a_repetition_changes_nothing() -> None:
    machine = machine_in_round()
    for payload in (observations(PEER)[0], proposal(), share(bytes(32), signer=PEER, sender=PEER)):
        machine.on_message(payload)
        before = memory(machine)
        assert machine.on_message(payload) == ()
        assert memory(machine) == before


def test_a_forged_contradiction_is_no_evidence() -> None:
    machine = machine_in_round()
    machine.on_message(observations(PEER)[0])
    before = memory(machine)
    with pytest.raises(ProtocolViolation, check=lambda error: error.code == "forged"):
        machine.on_message(say(seen(clock_ms=1_000 * NOW + 1), sender=PEER, key=LEADER))
    assert memory(machine) == before


@pytest.mark.parametrize(
    "payload",
    [b"", b"noise", certificate_of(1, (0, 1)), certificate_of(ROUND + 2), certificate_of(1)[:-1]],
    ids=["empty", "noise", "too few signers", "from the future", "cut off"],
)
def test_a_refused_certificate_changes_nothing(payload: bytes) -> None:
    machine = machine_in_round()
    before = memory(machine)
    with pytest.raises(ProtocolViolation):
        machine.on_certificate(payload)
    assert memory(machine) == before


def test_a_state_that_the_report_does_not_commit_to_is_refused() -> None:
    operators = Operators(4)
    operators.slot(1)
    certificate = operators.certificates[0][1]
    machine = machine_in_round()
    (needed, _) = machine.on_certificate(encode_certificate(certificate))
    assert isinstance(needed, StateNeeded)
    before = memory(machine)
    genesis = genesis_state(RULES, genesis_history())
    unordered = msgspec.structs.replace(genesis, pins=(block(2, timestamp=1), block(1, timestamp=1)))
    for state in (genesis, unordered):
        with pytest.raises(ProtocolViolation):
            machine.on_state(needed.reference, state)
    unasked = msgspec.structs.replace(needed.reference, round=2)
    assert machine.on_state(unasked, genesis) == ()
    assert memory(machine) == before


def test_a_proposal_of_the_next_slot_waits_for_it() -> None:
    machine = machine_in_round()
    leader = RULES.leader(ROUND + 1)
    payloads = tuple(say(seen(), sender=sender, round_number=ROUND + 1) for sender in (0, 1, 2))
    body = Proposal(observations=payloads, parent_certificate=b"")
    assert machine.on_message(say(body, sender=leader, round_number=ROUND + 1)) == ()
    kinds = {type(effect).__name__ for effect in machine.on_tick(RULES.slot_start_ms(ROUND + 1))}
    assert "OutcomeReady" in kinds


def test_a_correct_leader_does_not_propose_without_the_parent_that_f_plus_1_know() -> None:
    machine = RoundMachine(RULES, me=LEADER, sign=identity(LEADER).sign, state=genesis_state(RULES, genesis_history()))
    machine.on_tick(1_000 * NOW)
    ahead = ReportReference(round=1, report_hash=bytes(32))
    effects: Effects = ()
    for payload in observations(0, 1, 2, 3, highest_certified=ahead):
        effects = (*effects, *machine.on_message(payload))
    assert [(effect.peer, effect.reference) for effect in effects if isinstance(effect, CertificateNeeded)] == [
        (peer, ahead) for peer in range(4) if peer != LEADER
    ]
    assert len(effects) == 3, "it asks whoever named it, and waits"
    alone = RoundMachine(RULES, me=LEADER, sign=identity(LEADER).sign, state=genesis_state(RULES, genesis_history()))
    alone.on_tick(1_000 * NOW)
    mixed = (
        *observations(0, highest_certified=ReportReference(round=2**63, report_hash=bytes(32))),
        *observations(1, 2, 3),
    )
    for payload in mixed:
        effects = (*effects, *alone.on_message(payload))
    assert [effect.kind for effect in effects if isinstance(effect, Send)] == [MessageKind.PROPOSAL], (
        "one liar cannot stop it"
    )


GOOD = [observations(PEER)[0], proposal(), share(bytes(32), signer=PEER, sender=PEER)]


@settings(max_examples=60)
@given(data=st.data())
def test_a_message_with_changed_bytes_changes_nothing(data: st.DataObject) -> None:
    machine = machine_in_round()
    payload = bytearray(data.draw(st.sampled_from(GOOD)))
    position = data.draw(st.integers(0, len(payload) - 1))
    payload[position] ^= data.draw(st.integers(1, 255))
    before = memory(machine)
    with pytest.raises(ProtocolViolation):
        machine.on_message(bytes(payload))
    assert memory(machine) == before
