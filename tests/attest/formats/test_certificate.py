"""Certificates of one committee: what is assembled, what is refused and why."""

from typing import Any

import msgspec
import pytest

from attest.encoding.abi_types import AbiType, abi_name, decode_word, encode_word, integer_range
from attest.encoding.keccak import keccak256
from attest.formats.certificate import (
    Certificate,
    assemble_certificate,
    decode_certificate_json,
    encode_certificate,
    encode_certificate_json,
    signer_indices,
    verify_certificate,
)
from attest.formats.eip712 import Destination
from attest.formats.header import ReportHeader
from riskschema.errors import InvalidData, ProtocolViolation
from riskschema.units import Address
from tests.builders.reports import certificate as certificate_of
from tests.builders.reports import signer_of

KEYS = [keccak256(bytes([index])) for index in range(4)]
OPERATORS = [signer_of(key) for key in KEYS]
HERE = Destination(chain_id=1, oracle=Address("0x" + "11" * 20))
ELSEWHERE = Destination(chain_id=1, oracle=Address("0x" + "12" * 20))
DIGEST = keccak256(b"config")
NUMBERS = {"round", "observed_at", "valid_until", "model_version", "account_count", "feed_count", "coverage_ppm"}
FIELDS: dict[str, Any] = {
    field: 7 if field in NUMBERS | {"breaker_flags"} else keccak256(field.encode())
    for field in ReportHeader.__struct_fields__
    if field != "config_digest"
}
HEADER = ReportHeader(**FIELDS, config_digest=DIGEST)


def certify(*signers: int, destination: Destination = HERE) -> Certificate:
    return certificate_of(HEADER, KEYS, [destination], signers)


def verify(certificate: Certificate, *, operators: list[Address] | None = None) -> None:
    verify_certificate(
        certificate,
        config_digest=DIGEST,
        operators=OPERATORS if operators is None else operators,
        destinations=[HERE],
    )


@pytest.mark.parametrize("signers", [(0, 1, 2), (3, 1, 0), (0, 1, 2, 3)])
def test_any_quorum_certifies(signers: tuple[int, ...]) -> None:
    certificate = certify(*signers)
    assert signer_indices(certificate) == tuple(sorted(signers))
    verify(certificate)


def test_the_identity_does_not_depend_on_who_signed() -> None:
    assert certify(0, 1, 2).report_hash == certify(1, 2, 3).report_hash


def test_too_few_signatures_are_refused() -> None:
    with pytest.raises(ProtocolViolation, match="2 signatures, 3 needed"):
        verify(certify(0, 3))


def test_signatures_for_another_contract_are_refused() -> None:
    with pytest.raises(ProtocolViolation, match="signature of operator 0"):
        verify(certify(0, 1, 2, destination=ELSEWHERE))


def test_bitmap_and_signatures_that_do_not_fit_are_refused() -> None:
    certificate = certify(0, 1, 2)
    broken: list[dict[str, Any]] = [
        {"bitmap": 0b1111},
        {"bitmap": 1 << 31},
        {"bitmap": -1},
        {"signatures": certificate.signatures[:2]},
        {"signatures": (*certificate.signatures[:2], b"short")},
    ]
    for change in broken:
        changed = msgspec.structs.replace(certificate, **change)
        with pytest.raises(ProtocolViolation, match="certificate refused"):
            verify(changed)
        for encode in (encode_certificate, encode_certificate_json):
            with pytest.raises(InvalidData):
                encode(changed)


def test_a_committee_that_is_none_verifies_nothing() -> None:
    for count in (0, 2, 3):
        with pytest.raises(InvalidData, match=f"not {count}"):
            verify(certify(0, 1, 2), operators=OPERATORS[:count])


@pytest.mark.parametrize("index", [-1, 31])
def test_an_index_outside_every_committee_is_refused(index: int) -> None:
    with pytest.raises(InvalidData, match="outside 0 to 30"):
        assemble_certificate(HEADER, {index: bytes(65)})


def test_a_json_of_another_version_is_refused() -> None:
    text = encode_certificate_json(certify(0, 1, 2)).replace(b'"version":"1"', b'"version":"2"')
    with pytest.raises(InvalidData, match="unknown version 2"):
        decode_certificate_json(text)


def test_a_json_whose_header_has_no_encoding_is_refused() -> None:
    text = encode_certificate_json(certify(0, 1, 2)).replace(b'"round":"7"', b'"round":"-7"')
    with pytest.raises(InvalidData, match="round: -7"):
        decode_certificate_json(text)


@pytest.mark.parametrize(
    ("word", "abi_type"),
    [
        (b"\0" * 11 + b"\1" + b"\0" * 20, "address"),
        (b"\0" * 29 + b"\1\0\0", "uint16"),
        (b"\0" * 15 + b"\1" + b"\0" * 16, "int128"),
        (b"\0" * 16 + b"\xff" * 16, "int128"),
        (b"\1" + b"\0" * 31, "uint64"),
    ],
)
def test_a_word_outside_its_type_is_refused(word: bytes, abi_type: str) -> None:
    with pytest.raises(InvalidData, match=f"field: .* is no {abi_type}"):
        decode_word(word, abi_type, what="field")


def test_addresses_take_the_low_twenty_bytes() -> None:
    word = encode_word(HERE.oracle, "address", what="oracle")
    assert word == bytes(12) + b"\x11" * 20
    assert decode_word(word, "address", what="oracle") == HERE.oracle
    with pytest.raises(InvalidData, match="oracle"):
        encode_word("0x" + "11" * 20, "address", what="oracle")


def test_a_type_that_solidity_does_not_know_is_a_programming_error() -> None:
    with pytest.raises(TypeError, match="float64"):
        integer_range("float64")
    with pytest.raises(TypeError, match="names no Solidity type"):
        abi_name(int)
    assert AbiType("uint8").name == "uint8"
