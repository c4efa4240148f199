"""Peer messages: the published vectors, one encoding per value, and refusals in the right order."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from attest.encoding.canonical_bytes import ByteReader, ByteWriter
from attest.keys.identity import IdentityKey
from attest.wire.envelope import Envelope, check_scope, check_signature, open_body, read_envelope, seal
from attest.wire.message_format import decode_body, encode_body, kind_of
from attest.wire.messages import (
    GENESIS_REFERENCE,
    MAX_BYTES,
    PAGE_BYTES,
    Answer,
    Body,
    FactorVote,
    MessageKind,
    Observation,
    Part,
    Presence,
    Proposal,
    ReportReference,
    Request,
    Share,
)
from riskschema.codec import from_builtins
from riskschema.errors import InvalidData, ProtocolViolation
from riskschema.portfolio import BlockReference
from riskschema.units import Address, Hash32, Wad
from tests.attest.agreement.round_kit import GENESIS, identity, observation, rules

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "messages.json").read_text())
CONFIG = bytes.fromhex(VECTORS["config_digest"][2:])
KEY = IdentityKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["identity_seed"][2:])))


def raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def body_of(kind: str, fields: dict[str, Any]) -> Body:
    if kind == "share":
        return Share(report_hash=raw(fields["report_hash"]), signature=raw(fields["signature"]))
    if kind == "proposal":
        return Proposal(
            observations=tuple(raw(payload) for payload in fields["observations"]),
            parent_certificate=raw(fields["parent_certificate"]),
        )
    if kind == "presence":
        return Presence(boot_number=fields["boot_number"], clock_ms=fields["clock_ms"])
    if kind in ("request", "answer"):
        return question_of(kind, fields)
    return Observation(
        clock_ms=fields["clock_ms"],
        heads=tuple(from_builtins(head, BlockReference, what="vector") for head in fields["heads"]),
        votes=tuple(
            FactorVote(factor=vote["factor"], value=Wad(int(vote["value"])), confidence=Wad(int(vote["confidence"])))
            for vote in fields["votes"]
        ),
        highest_certified=reference_of(fields["highest_certified"]),
        requests=tuple(Address(request) for request in fields["requests"]),
    )


def question_of(kind: str, fields: dict[str, Any]) -> Body:
    common = {"recipient": fields["recipient"], "part": Part(fields["part"]), "start": fields["start"]}
    common["reference"] = reference_of(fields["reference"])
    return Request(**common) if kind == "request" else Answer(**common, total=fields["total"], data=raw(fields["data"]))


def reference_of(fields: dict[str, Any]) -> ReportReference:
    return ReportReference(round=fields["round"], report_hash=raw(fields["report_hash"]))


def violates(code: str):
    return pytest.raises(ProtocolViolation, check=lambda error: error.code == code)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: f"{case['kind']} of round {case['round']}")
def test_every_kind_has_the_published_bytes(case: dict[str, Any]) -> None:
    body = body_of(case["kind"], case["fields"])
    assert encode_body(body) == raw(case["body"])
    payload = seal(body, config_digest=CONFIG, round_number=case["round"], sender=case["sender"], sign=KEY.sign)
    assert payload == raw(case["payload"])
    envelope = read_envelope(payload)
    assert envelope.digest == raw(case["digest"])
    assert (envelope.kind.name.lower(), envelope.round, envelope.sender) == (
        case["kind"],
        case["round"],
        case["sender"],
    )
    assert open_body(envelope) == body


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["why"])
def test_any_other_bytes_are_refused(case: dict[str, str]) -> None:
    with violates("malformed"):
        open_body(read_envelope(raw(case["payload"])))


FACTORS = (
    st.text(min_size=1, max_size=12)
    .filter(lambda text: len(text.encode(errors="ignore")) >= 1)
    .filter(lambda text: text.encode(errors="ignore").decode() == text)
)
HASHES = st.binary(min_size=32, max_size=32)
BLOCKS = st.builds(
    BlockReference,
    chain_id=st.integers(1, 2**53),
    number=st.integers(0, 2**53),
    hash=HASHES.map(Hash32),
    timestamp=st.integers(0, 2**53),
)
VOTES = st.builds(
    FactorVote,
    factor=FACTORS,
    value=st.integers(0, 2**128 - 1).map(Wad),
    confidence=st.integers(0, 2**128 - 1).map(Wad),
)
OBSERVATIONS = st.builds(
    Observation,
    clock_ms=st.integers(0, 2**64 - 1),
    heads=st.lists(BLOCKS, max_size=5, unique_by=lambda head: (head.chain_id, head.number)).map(
        lambda heads: tuple(sorted(heads, key=lambda head: (head.chain_id, head.number)))
    ),
    votes=st.lists(VOTES, max_size=5, unique_by=lambda vote: vote.factor).map(
        lambda votes: tuple(sorted(votes, key=lambda vote: vote.factor))
    ),
    highest_certified=st.builds(ReportReference, round=st.integers(0, 2**64 - 1), report_hash=HASHES),
    requests=st.sets(st.binary(min_size=20, max_size=20), max_size=4).map(
        lambda requests: tuple(sorted(Address("0x" + request.hex()) for request in requests))
    ),
)
PROPOSALS = st.builds(
    Proposal,
    observations=st.lists(st.binary(max_size=50), max_size=31).map(tuple),
    parent_certificate=st.binary(max_size=2_000),
)
SHARES = st.builds(Share, report_hash=HASHES, signature=st.binary(min_size=65, max_size=65))
NUMBERS = st.integers(0, 2**64 - 1)
PRESENCES = st.builds(Presence, boot_number=NUMBERS, clock_ms=NUMBERS)
QUESTION = {
    "recipient": st.integers(0, 255),
    "part": st.sampled_from(Part),
    "reference": st.builds(ReportReference, round=NUMBERS, report_hash=HASHES),
    "start": NUMBERS,
}
REQUESTS = st.builds(Request, **QUESTION)
ANSWERS = st.builds(Answer, **QUESTION, total=NUMBERS, data=st.binary(max_size=50))
BODIES = st.one_of(OBSERVATIONS, PROPOSALS, SHARES, PRESENCES, REQUESTS, ANSWERS)


@given(body=BODIES)
def test_what_is_written_reads_back_the_same(body: Body) -> None:
    assert decode_body(kind_of(body), encode_body(body)) == body


@given(body=BODIES, data=st.data())
def test_changed_bytes_are_refused_or_say_something_else(body: Body, data: st.DataObject) -> None:
    payload = bytearray(seal(body, config_digest=CONFIG, round_number=5, sender=1, sign=KEY.sign))
    position = data.draw(st.integers(0, len(payload) - 1))
    payload[position] ^= data.draw(st.integers(1, 255))
    read = read_or_refuse(bytes(payload))
    if read is not None:
        # One encoding per value: other bytes that still read are another message.
        envelope, other = read
        assert bytes(payload) == seal(
            other,
            config_digest=envelope.config_digest,
            round_number=envelope.round,
            sender=envelope.sender,
            sign=lambda _: envelope.signature,
        )


def read_or_refuse(payload: bytes) -> tuple[Envelope, Body] | None:
    """None where the bytes are refused as malformed; any other error passes through."""
    try:
        envelope = read_envelope(payload)
        return envelope, open_body(envelope)
    except ProtocolViolation as violation:
        if violation.code != "malformed":
            raise
        return None


@given(payload=st.binary(max_size=300))
def test_noise_is_refused(payload: bytes) -> None:
    read_or_refuse(b"\1" + payload)


def test_an_observation_above_64_kib_and_a_proposal_above_2_mib_are_refused_before_they_are_read() -> None:
    assert MAX_BYTES[MessageKind.OBSERVATION] == 64 * 1024
    assert MAX_BYTES[MessageKind.PROPOSAL] == 2 * 1024 * 1024
    for kind, size in MAX_BYTES.items():
        with violates("malformed"):
            read_envelope(bytes([1, kind]) + bytes(size))


def test_only_a_proposal_is_answered_with_more_than_a_page() -> None:
    page: dict[str, Any] = {
        "recipient": 0,
        "reference": GENESIS_REFERENCE,
        "start": 0,
        "total": 1,
        "data": bytes(PAGE_BYTES + 1),
    }
    whole = Answer(part=Part.PROPOSAL, **page)
    assert decode_body(MessageKind.ANSWER, encode_body(whole)) == whole
    for part in set(Part) - {Part.PROPOSAL}:
        with pytest.raises(InvalidData, match="page"):
            decode_body(MessageKind.ANSWER, encode_body(Answer(part=part, **page)))


def test_a_message_that_would_be_refused_for_its_size_is_not_sealed() -> None:
    votes = tuple(FactorVote(factor=f"{index:0100}", value=Wad(1), confidence=Wad(1)) for index in range(600))
    large = msgspec.structs.replace(observation(GENESIS), votes=votes)
    with pytest.raises(InvalidData, match="at most 65536"):
        seal(large, config_digest=CONFIG, round_number=1, sender=0, sign=KEY.sign)


def test_lists_out_of_order_are_not_encoded() -> None:
    seen = observation(GENESIS)
    for field in ("heads", "votes"):
        wrong = msgspec.structs.replace(seen, **{field: getattr(seen, field)[::-1]})
        with pytest.raises(InvalidData, match="increasing"):
            encode_body(wrong)


def sealed(**changes: Any) -> bytes:
    fields = {"config_digest": rules(4).config_digest, "round_number": 5, "sender": 1, "sign": identity(1).sign}
    return seal(observation(GENESIS + 50, head=10), **{**fields, **changes})


def check(payload: bytes) -> None:
    envelope = read_envelope(payload)
    check_scope(envelope, rules(4), first_round=4, last_round=6)
    check_signature(envelope, rules(4))


def test_a_message_of_its_sender_passes() -> None:
    check(sealed())


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"config_digest": bytes(32)}, "foreign"),
        ({"sender": 4}, "foreign"),
        ({"round_number": 3}, "stale"),
        ({"round_number": 7}, "stale"),
        ({"sender": 2}, "forged"),
        ({"sign": lambda _: bytes(64)}, "forged"),
    ],
)
def test_a_foreign_stale_or_forged_message_is_told_apart(change: dict[str, Any], code: str) -> None:
    with violates(code):
        check(sealed(**change))


@pytest.mark.parametrize("position", [2, 40, 42, 50, -70])
def test_a_signature_covers_committee_round_sender_kind_and_body(position: int) -> None:
    payload = bytearray(sealed())
    payload[position] ^= 1
    with pytest.raises(ProtocolViolation):
        check(bytes(payload))


def test_a_signature_of_one_kind_does_not_pass_for_another() -> None:
    share = Share(report_hash=bytes(32), signature=bytes(65))
    payload = seal(share, config_digest=rules(4).config_digest, round_number=5, sender=1, sign=identity(1).sign)
    with violates("forged"):
        check(payload[:1] + bytes([MessageKind.OBSERVATION]) + payload[2:])


def test_writers_refuse_what_does_not_fit() -> None:
    writer = ByteWriter()
    for attempt in (
        lambda: writer.uint(256, 1),
        lambda: writer.uint(-1, 8),
        lambda: writer.fixed(b"abc", 2),
        lambda: writer.text(""),
        lambda: writer.text("x" * 481),
    ):
        with pytest.raises(InvalidData):
            attempt()
    assert writer.finish() == b""


def test_readers_name_what_they_read() -> None:
    with pytest.raises(InvalidData, match="the thing: ends after 1 bytes, 2 needed"):
        ByteReader(b"x", what="the thing").fixed(2)
    with pytest.raises(InvalidData, match="the thing: a flag of 2"):
        ByteReader(b"\2", what="the thing").flag()
