"""What RiskOracle.publish accepts and refuses, on a real chain."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from attest.encoding.abi_types import word_fields
from attest.formats.certificate import Certificate
from attest.formats.eip712 import CURVE_ORDER, Destination
from attest.formats.header import ReportHeader
from contracts.calls import decode_event, encode_call, publish_call
from riskschema.units import Address

pytestmark = pytest.mark.chain

Refuses = Callable[..., Any]
START = 1_800_000_000

# OpenZeppelin's ECDSA.RecoverError
INVALID_SIGNATURE, INVALID_S = 1, 3
FIELDS = ReportHeader.__struct_fields__


def _field_name(index: int) -> str:
    return FIELDS[index]


def test_a_quorum_signed_report_is_accepted(oracle: Any) -> None:
    certificate = oracle.certify(oracle.header(1))
    receipt = oracle.publish(certificate)
    (log,) = receipt["logs"]
    event = decode_event(
        "RiskOracle",
        "ReportAccepted",
        topics=[bytes.fromhex(topic[2:]) for topic in log["topics"]],
        data=bytes.fromhex(log["data"][2:]),
    )
    assert event["round"] == 1
    assert event["reportHash"] == certificate.report_hash
    assert event["bitmap"] == 0b11111
    assert oracle.read("latestRound") == (1, certificate.header.observed_at)


def test_any_quorum_will_do(oracle: Any) -> None:
    oracle.publish(oracle.certify(oracle.header(1), signers=[0, 2, 3, 5, 6]))
    oracle.publish(oracle.certify(oracle.header(2), signers=range(7)))
    assert oracle.read("latestRound")[0] == 2


@pytest.mark.parametrize("operators", [1, 4, 31])
def test_committees_from_one_to_thirty_one_publish(deploy_committee: Callable[..., Any], operators: int) -> None:
    oracle = deploy_committee(operators)
    oracle.publish(oracle.certify(oracle.header(1)))
    assert oracle.read("latestRound")[0] == 1


def test_one_signature_serves_all_destinations(deploy_committee: Callable[..., Any]) -> None:
    elsewhere = Destination(chain_id=10, oracle=Address("0x" + "77" * 20))
    oracle = deploy_committee(4, other_destinations=[elsewhere])
    oracle.publish(oracle.certify(oracle.header(1)))
    assert oracle.read("latestRound")[0] == 1


def test_a_parent_that_never_landed_is_no_hindrance(oracle: Any) -> None:
    oracle.publish(oracle.certify(oracle.header(1)))
    oracle.publish(oracle.certify(oracle.header(40, parent=b"\xaa" * 32)))
    assert oracle.read("latestRound")[0] == 40


def test_round_zero_may_be_the_first(oracle: Any) -> None:
    oracle.publish(oracle.certify(oracle.header(0)))
    assert oracle.read("recentReport", 0)[0][1] == oracle.header(0).observed_at


def test_a_replayed_report_is_refused(oracle: Any, refuses: Refuses) -> None:
    certificate = oracle.certify(oracle.header(5))
    oracle.publish(certificate)
    with refuses("RoundNotNewer", 5, 5):
        oracle.publish(certificate, at=certificate.header.observed_at + 2)


def test_an_older_round_is_refused(oracle: Any, refuses: Refuses) -> None:
    oracle.publish(oracle.certify(oracle.header(5)))
    with refuses("RoundNotNewer", 4, 5):
        oracle.publish(oracle.certify(oracle.header(4, observed_at=oracle.header(6).observed_at)))


def test_a_newer_round_with_an_older_observation_is_refused(oracle: Any, refuses: Refuses) -> None:
    first = oracle.header(5)
    oracle.publish(oracle.certify(first))
    with refuses("ObservationNotNewer", first.observed_at, first.observed_at):
        late = oracle.certify(oracle.header(6, observed_at=first.observed_at))
        oracle.publish(late, at=first.observed_at + 5)


def test_an_expired_report_is_refused(oracle: Any, refuses: Refuses) -> None:
    certificate = oracle.certify(oracle.header(1))
    with refuses("Expired", 1, certificate.header.valid_until):
        oracle.publish(certificate, at=certificate.header.valid_until + 1)


def test_a_report_is_accepted_in_the_last_second_of_its_life(oracle: Any) -> None:
    certificate = oracle.certify(oracle.header(1))
    oracle.publish(certificate, at=certificate.header.valid_until)
    assert oracle.read("latestRound")[0] == 1


def test_a_report_from_the_future_is_refused_beyond_the_skew(oracle: Any, refuses: Refuses) -> None:
    certificate = oracle.certify(oracle.header(100))
    now = certificate.header.observed_at - 31
    with refuses("FromTheFuture", certificate.header.observed_at, now + 30):
        oracle.publish(certificate, at=now)
    oracle.publish(certificate, at=now + 1)


def test_the_largest_skew_is_an_hour_to_the_second(deploy_committee: Callable[..., Any], refuses: Refuses) -> None:
    oracle = deploy_committee(1, skew=3_600)
    certificate = oracle.certify(oracle.header(4_000, valid_until=START + 9_000))
    with refuses("FromTheFuture", START + 4_000, START + 3_999):
        oracle.publish(certificate, at=START + 399)
    oracle.publish(certificate, at=START + 400)


def test_a_report_of_another_committee_is_refused(oracle: Any, refuses: Refuses) -> None:
    with refuses("ForeignConfig"):
        oracle.publish(oracle.certify(oracle.header(1, config_digest=b"\x01" * 32)))


@pytest.mark.parametrize(
    "elsewhere",
    [
        pytest.param({"chain_id": 1}, id="another chain"),
        pytest.param({"oracle": Address("0x" + "12" * 20)}, id="another contract"),
    ],
)
def test_signatures_for_another_destination_are_refused(
    oracle: Any, refuses: Refuses, elsewhere: dict[str, Any]
) -> None:
    destination = msgspec.structs.replace(oracle.committee.destinations[0], **elsewhere)
    with refuses("WrongSigner"):
        oracle.publish(oracle.certify(oracle.header(1), destinations=[destination]))


def test_a_chain_that_split_off_with_another_id_accepts_nothing(oracle: Any, refuses: Refuses) -> None:
    anvil = oracle.chain.anvil
    anvil.rpc.request("anvil_setChainId", 4242)
    try:
        with refuses("ForeignChain", 4242):
            oracle.chain.call(oracle.contracts.oracle, publish_call(oracle.certify(oracle.header(1))))
    finally:
        anvil.rpc.request("anvil_setChainId", 31337)


@pytest.mark.parametrize(
    ("field", "value"),
    [("accounts_root", b"\x02" * 32), ("observed_at", 1_800_000_003), ("coverage_ppm", 999_999)],
)
def test_a_header_changed_after_signing_is_refused(oracle: Any, refuses: Refuses, field: str, value: Any) -> None:
    certificate = oracle.certify(oracle.header(1))
    changed = msgspec.structs.replace(certificate.header, **{field: value})
    with refuses("WrongSigner"):
        oracle.publish(msgspec.structs.replace(certificate, header=changed), at=1_800_000_004)


@pytest.mark.parametrize(
    "index", [i for i, (_, kind) in enumerate(word_fields(ReportHeader)) if kind != "bytes32"], ids=_field_name
)
def test_a_word_outside_its_type_is_refused(oracle: Any, refuses: Refuses, index: int) -> None:
    """The contract hashes the words as they come: one that it never reads must fail by the signatures."""
    oracle.publish(oracle.certify(oracle.header(1)))
    certificate = oracle.certify(oracle.header(5))
    call = bytearray(publish_call(certificate))
    call[4 + 32 * index] = 1
    name = "WrongSigner" if index > FIELDS.index("valid_until") else "Unknown"
    with refuses(name):
        oracle.chain.send(oracle.contracts.oracle, bytes(call), at=certificate.header.observed_at + 1)
    oracle.publish(certificate, at=certificate.header.observed_at + 2)


def test_one_signature_less_than_a_quorum_is_refused(oracle: Any, refuses: Refuses) -> None:
    with refuses("QuorumMissing", 4, 5):
        oracle.publish(oracle.certify(oracle.header(1), signers=range(4)))


def test_no_signature_is_refused(oracle: Any, refuses: Refuses) -> None:
    with refuses("QuorumMissing", 0, 5):
        oracle.publish(oracle.certify(oracle.header(1), signers=[]))


def test_bits_beyond_the_committee_are_refused(oracle: Any, refuses: Refuses) -> None:
    certificate = oracle.certify(oracle.header(1))
    with refuses("UnknownOperator", 0b11111 | 1 << 7, 7):
        oracle.publish(msgspec.structs.replace(certificate, bitmap=0b11111 | 1 << 7))
    with refuses("UnknownOperator"):
        oracle.chain.call(oracle.contracts.oracle, _raw(certificate, bitmap=0b11111 | 1 << 255))


def test_a_duplicate_signature_is_refused(oracle: Any, refuses: Refuses) -> None:
    certificate = oracle.certify(oracle.header(1))
    first, _, *rest = certificate.signatures
    with refuses("WrongSigner", 1, oracle.committee.signers[0]):
        oracle.publish(msgspec.structs.replace(certificate, signatures=(first, first, *rest)))


def test_reordered_signatures_are_refused(oracle: Any, refuses: Refuses) -> None:
    certificate = oracle.certify(oracle.header(1))
    first, second, *rest = certificate.signatures
    with refuses("WrongSigner", 0, oracle.committee.signers[1]):
        oracle.publish(msgspec.structs.replace(certificate, signatures=(second, first, *rest)))


def test_a_signature_by_a_stranger_is_refused(oracle: Any, refuses: Refuses) -> None:
    stranger = msgspec.structs.replace(oracle.certify(oracle.header(1)), bitmap=0b101111)
    with refuses("WrongSigner", 5, oracle.committee.signers[4]):
        oracle.publish(stranger)


def test_a_high_s_signature_is_refused(oracle: Any, refuses: Refuses) -> None:
    certificate = oracle.certify(oracle.header(1))
    first, *rest = certificate.signatures
    with refuses("MalformedSignature", 0, INVALID_S):
        oracle.publish(msgspec.structs.replace(certificate, signatures=(_high_s(first), *rest)))


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(bytes(64) + b"\x1b", id="zeros"),
        pytest.param(b"\x01" * 64 + b"\x1d", id="v of 29"),
        pytest.param(b"\x01" * 64 + b"\x00", id="v of 0"),
    ],
)
def test_a_signature_that_recovers_to_the_zero_address_is_refused(
    oracle: Any, refuses: Refuses, signature: bytes
) -> None:
    certificate = oracle.certify(oracle.header(1))
    with refuses("MalformedSignature", 0, INVALID_SIGNATURE):
        oracle.publish(msgspec.structs.replace(certificate, signatures=(signature, *certificate.signatures[1:])))


@pytest.mark.parametrize("extra", [-1, 1, 65])
def test_bytes_missing_or_left_over_are_refused(oracle: Any, refuses: Refuses, extra: int) -> None:
    certificate = oracle.certify(oracle.header(1))
    joined = b"".join(certificate.signatures)
    joined = joined[:extra] if extra < 0 else joined + bytes(extra)
    with refuses("SignatureLength", 325 + extra, 325):
        oracle.chain.send(oracle.contracts.oracle, _raw(certificate, signatures=joined), at=1_800_000_002)


def test_nothing_changes_when_a_report_is_refused(oracle: Any, refuses: Refuses) -> None:
    oracle.publish(oracle.certify(oracle.header(1)))
    before = oracle.read("recentReport", 1)
    with refuses("QuorumMissing"):
        oracle.publish(oracle.certify(oracle.header(2), signers=range(4)))
    assert oracle.read("latestRound")[0] == 1
    assert oracle.read("recentReport", 1) == before


def _raw(certificate: Certificate, *, bitmap: int | None = None, signatures: bytes | None = None) -> bytes:
    return encode_call(
        "RiskOracle",
        "publish",
        certificate.header,
        certificate.bitmap if bitmap is None else bitmap,
        b"".join(certificate.signatures) if signatures is None else signatures,
    )


def _high_s(signature: bytes) -> bytes:
    s = CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])
