"""Whatever bytes come, a decoder refuses them with an error of ours, or reads what would be written the same again."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from attest.agreement.catch_up import pack_items, read_hours
from attest.agreement.state_format import decode_state, encode_state
from attest.encoding.canonical_json import decode_canonical, encode_canonical
from attest.formats.certificate import (
    decode_certificate,
    decode_certificate_json,
    encode_certificate,
    encode_certificate_json,
)
from attest.formats.committee import Committee, check_committee
from attest.formats.header import decode_header, encode_header
from attest.formats.leaf import decode_leaf, encode_leaf
from attest.hours.hourly import encode_row
from attest.keys.guard import create_guard, guard_path, open_guard
from attest.keys.guard_interchange import decode_marks, encode_marks
from attest.keys.joining import Draft, JoinRequest, assemble_committee
from attest.keys.keystore import create_identity, create_keystore, open_identity, open_keystore
from attest.wire.envelope import open_body, read_envelope
from attest.wire.message_format import encode_body
from riskschema.errors import FatalError, InvalidData, PlimsollError, ProtocolViolation
from riskschema.units import Address
from tests.attest.agreement.round_kit import Operators, committee
from tests.attest.keys import test_joining
from tests.builders import reports
from tests.builders.mutations import mutated

VECTORS = Path(__file__).parents[1] / "vectors"
KEY = Address("0x" + "ab" * 20)
REFUSED = (InvalidData, ProtocolViolation)
TRIES = 11_000
FEWER = {"join request": 2_000}
"""Each that can be read is held against three others, with six signatures."""
FILES = 200
"""Each is written, opened and removed."""


def read_message(payload: bytes) -> bytes:
    envelope = read_envelope(payload)
    body = encode_body(open_body(envelope))
    assert body == envelope.body
    return envelope.payload


def read_committee(document: bytes) -> bytes:
    value = decode_canonical(document, Committee, what="committee")
    check_committee(value)
    return encode_canonical(value)


def read_join_request(document: bytes) -> bytes:
    """Read a request to join, as everybody does who confirms a committee; one that is taken proves its keys."""
    value = decode_canonical(document, JoinRequest, what="join request")
    encoded = encode_canonical(value)
    if encoded not in JOINED:
        with pytest.raises(InvalidData):
            assemble_committee(test_joining.DRAFT, [value, *(test_joining.request(index) for index in (1, 2, 3))])
    return encoded


def read_draft(document: bytes) -> bytes:
    return encode_canonical(decode_canonical(document, Draft, what="draft"))


@cache
def samples() -> dict[str, tuple[bytes, ...]]:
    """Return good bytes of every format."""
    operators = Operators(4)
    operators.slot(1)
    certificate = operators.certificates[0][1]
    state = operators.machines[0]._certified.state_after(next(iter(operators.machines[0]._certified._states)))
    assert state is not None
    vectors = json.loads((VECTORS / "messages.json").read_text())["cases"]
    row = json.loads((VECTORS / "state.json").read_text())
    recent = decode_state(bytes.fromhex(row["encoded"][2:])).hours.recent
    return {
        "message": tuple(bytes.fromhex(case["payload"][2:]) for case in vectors) + tuple(operators.sent),
        "certificate": (encode_certificate(certificate),),
        "certificate as JSON": (encode_certificate_json(certificate),),
        "header": (encode_header(certificate.header),),
        "leaf": (encode_leaf(reports.leaf()),),
        "state": (encode_state(state), bytes.fromhex(row["encoded"][2:])),
        "hours": (pack_items(encode_row(each) for each in (*recent, *recent)),),
        "committee": (encode_canonical(committee(4)), encode_canonical(committee(1))),
        "join request": JOINED,
        "draft": (encode_canonical(test_joining.DRAFT),),
        "marks": (encode_marks(KEY, []), MARKS),
    }


JOINED = (encode_canonical(test_joining.request(0)),)
MARKS = (
    b'{"format":"plimsoll-guard","version":2,"address":"0x'
    + b"ab" * 20
    + b'","marks":[{"config_digest":"0x'
    + b"07" * 32
    + b'","round":5,"report_hash":null,"parent_round":4}]}'
)
READERS: dict[str, Callable[[bytes], bytes]] = {
    "message": read_message,
    "certificate": lambda data: encode_certificate(decode_certificate(data)),
    "certificate as JSON": lambda data: encode_certificate_json(decode_certificate_json(data)),
    "header": lambda data: encode_header(decode_header(data)),
    "leaf": lambda data: encode_leaf(decode_leaf(data)),
    "state": lambda data: encode_state(decode_state(data)),
    "hours": lambda data: pack_items(encode_row(row) for row in read_hours(data)),
    "committee": read_committee,
    "join request": read_join_request,
    "draft": read_draft,
}


def fuzz(name: str, tries: int, seed: int) -> int:
    """Read so many mutations of a format; return how many were taken."""
    random, taken = Random(f"{name}/{seed}"), 0
    for _ in range(tries):
        data = mutated(samples()[name], random)
        with suppress(*REFUSED):
            assert READERS[name](data) == data, f"{name}: two encodings of one value: 0x{data.hex()}"
            taken += 1
    return taken


@pytest.mark.parametrize("name", READERS)
def test_bytes_are_refused_or_read_as_the_one_encoding_of_their_value(name: str) -> None:
    assert all(READERS[name](good) == good for good in samples()[name])
    tries = FEWER.get(name, TRIES)
    assert fuzz(name, tries, 0) < tries


def test_marks_of_a_guard_are_refused_or_read() -> None:
    random = Random(0)
    for _ in range(TRIES):
        with suppress(InvalidData):
            decode_marks(mutated(samples()["marks"], random), KEY)


def fuzz_files(path: Path, open_it: Callable[[], Any], tries: int, seed: int) -> int:
    """Write mutations of a file and open them; whatever is wrong stops with an error of ours."""
    good, random, refused = path.read_bytes(), Random(f"{path.name}/{seed}"), 0
    for _ in range(tries):
        path.write_bytes(mutated([good], random))
        try:
            open_it()
        except PlimsollError:
            refused += 1
    path.write_bytes(good)
    open_it()
    return refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    private = tmp_path / "keys"
    private.mkdir(mode=0o700)
    return private


def fuzz_keys(folder: Path, tries: int, seed: int) -> None:
    """Keystores, identities and guards."""
    keystore, identity = folder / "attestation.json", folder / "identity.pem"
    address = create_keystore(keystore, lambda: "correct horse", scrypt_cost=2)
    create_identity(identity, lambda: "correct horse")
    guard = guard_path(keystore)
    create_guard(guard, address)
    assert fuzz_files(keystore, lambda: open_keystore(keystore, lambda: "correct horse"), tries, seed) > tries // 2
    assert fuzz_files(identity, lambda: open_identity(identity, lambda: "correct horse"), tries, seed) > tries // 2
    with suppress(FatalError):
        fuzz_files(guard, lambda: open_guard(guard, address).close(), tries, seed)


def test_key_files_that_are_damaged_stop_the_node_with_a_word(folder: Path) -> None:
    fuzz_keys(folder, FILES, 0)
