"""What costs nothing: invalid messages, the same again, forgeries in another's name, and what is no news."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from attest.agreement import open_rounds, proposals
from attest.formats.certificate import Certificate, encode_certificate
from attest.wire.messages import Proposal
from riskschema.errors import ProtocolViolation
from tests.attest.agreement.round_kit import observation
from tests.attest.agreement.wire_kit import Wire, led_by
from tests.network.fake_signer import fast_signatures


@pytest.fixture(autouse=True)
def _fast_signatures() -> Iterator[None]:
    with fast_signatures():
        yield


def calls(monkeypatch: pytest.MonkeyPatch, module: ModuleType | type, name: str) -> list[tuple[Any, ...]]:
    """Return the list of the arguments with which a function is called from now on."""
    seen: list[tuple[Any, ...]] = []
    called = getattr(module, name)

    def note(*args: Any, **named: Any) -> Any:
        seen.append(args)
        return called(*args, **named)

    monkeypatch.setattr(module, name, note)
    return seen


def test_a_thousand_invalid_proposals_are_dropped_unread_after_two(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(7, frozenset({0}))
    number = led_by(wire.rules, 0, after=3)
    for each in range(1, number):
        wire.slot(each)
    wire.slot(number)
    victim = wire.correct[0]
    checked = calls(monkeypatch, open_rounds, "check_proposal")
    codes: Counter[str] = Counter()
    for each in range(1_000):
        noise = Proposal(observations=(bytes([each % 256, each // 256]) * 30,), parent_certificate=b"")
        with pytest.raises(ProtocolViolation) as caught:
            wire.machines[victim].on_message(wire.say(0, number, noise))
        codes[caught.value.code] += 1
    assert (len(checked), codes["malformed"], codes["ignored"]) == (2, 2, 998)
    wire.slot(number + 1)
    assert number + 1 in wire.certificates


def test_the_same_noise_again_is_known_by_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(4, frozenset({0}))
    wire.slot(1)
    victim = wire.correct[0]
    forged = wire.say(0, 1, observation(wire.now // 1_000, head=90))[:-1] + b"?"
    checked = calls(monkeypatch, open_rounds, "check_signature")
    machine = wire.start(victim)
    machine.on_tick(wire.now)
    for _ in range(5):
        with pytest.raises(ProtocolViolation, check=lambda error: error.code == "forged"):
            machine.on_message(forged)
    assert len(checked) == 1


def test_forged_noise_in_a_peers_name_does_not_silence_the_peer() -> None:
    wire = Wire(4)
    wire.tick(wire.rules.slot_start_ms(1), only=[0])
    machine = wire.machines[0]
    seen = observation(wire.now // 1_000)
    for each in range(10):
        with pytest.raises(ProtocolViolation):
            machine.on_message(wire.say(1, 1, seen)[:-1] + bytes([each]))
    machine.on_message(wire.say(1, 1, seen))
    memory = machine._open.get(1)
    assert memory is not None
    assert 1 in memory.observations


def test_a_certificate_that_is_no_news_is_not_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(4)
    wire.slot(1)
    wire.slot(2)
    checked: list[tuple[Certificate]] = []
    monkeypatch.setattr(proposals, "verify_certificate", lambda *args, **_: checked.append(args))
    for certificate in wire.certificates.values():
        assert wire.machines[0].on_certificate(encode_certificate(certificate)) == ()
    wire.slot(3)
    assert 3 in wire.certificates, "the parent in the proposal is known to be certified"
    assert {certificate.header.round for (certificate,) in checked} == {3}
