"""EIP-1559 bytes, checked by eth-account; fees that rise enough and never above the cap."""

from __future__ import annotations

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from attest.keys.keystore import LocalSigner
from node.publishing.transactions import Fees, Payload, offered_fees, payload_of, replacing_fees, sign_transaction
from riskschema.errors import InvalidData
from riskschema.units import Address

KEY = bytes(range(1, 33))
SIGNER = LocalSigner(KEY)

payloads = st.builds(
    Payload,
    to=st.binary(min_size=20, max_size=20).map(lambda raw: Address("0x" + raw.hex())),
    data=st.binary(max_size=400) | st.just(b"\xc0" * 70_000),
    gas=st.integers(0, 2**30),
)
wei = st.integers(0, 10**15)


@given(chain_id=st.integers(1, 2**53), nonce=st.integers(0, 2**40), payload=payloads, tip=wei, room=wei)
def test_another_library_signs_the_same_bytes(chain_id: int, nonce: int, payload: Payload, tip: int, room: int) -> None:
    fees = Fees(max_fee=tip + room, max_priority_fee=tip)
    signed = sign_transaction(chain_id, nonce, payload, fees, SIGNER)
    theirs = Account.sign_transaction(
        {
            "type": 2,
            "chainId": chain_id,
            "nonce": nonce,
            "maxPriorityFeePerGas": fees.max_priority_fee,
            "maxFeePerGas": fees.max_fee,
            "gas": payload.gas,
            "to": bytes.fromhex(str(payload.to)[2:]),
            "value": 0,
            "data": payload.data,
        },
        KEY,
    )
    assert signed.raw == bytes(theirs.raw_transaction)
    assert signed.hash == "0x" + bytes(theirs.hash).hex()
    assert Account.recover_transaction(signed.raw).lower() == SIGNER.address


@given(payload=payloads, nonce=st.integers(0, 300))
def test_a_kept_transaction_gives_its_payload_back(payload: Payload, nonce: int) -> None:
    assert payload_of(sign_transaction(1, nonce, payload, Fees(max_fee=2, max_priority_fee=1), SIGNER).raw) == payload


@given(garbage=st.binary(max_size=200))
def test_garbage_is_refused_as_a_kept_transaction(garbage: bytes) -> None:
    with pytest.raises(InvalidData, match="kept transaction"):
        payload_of(garbage)


def test_a_truncated_transaction_is_refused() -> None:
    payload = Payload(to=SIGNER.address, data=b"\x01" * 100, gas=21_000)
    raw = sign_transaction(1, 0, payload, Fees(max_fee=2, max_priority_fee=1), SIGNER).raw
    for length in range(len(raw)):
        with pytest.raises(InvalidData):
            payload_of(raw[:length])
    with pytest.raises(InvalidData):
        payload_of(raw + b"\x00")


@given(base_fee=wei, tip=wei, cap=wei, tip_cap=wei)
def test_an_offer_never_exceeds_the_cap(base_fee: int, tip: int, cap: int, tip_cap: int) -> None:
    fees = offered_fees(base_fee=base_fee, tip=tip, cap=cap, tip_cap=tip_cap)
    assert fees.max_priority_fee <= max(tip_cap // 2, 1), "so that it can be replaced"
    assert 0 <= fees.max_priority_fee <= fees.max_fee <= cap
    if cap >= 2 * base_fee + tip and tip <= tip_cap // 2:
        assert fees == Fees(max_fee=2 * base_fee + tip, max_priority_fee=tip)


@given(first=wei, first_tip=wei, base_fee=wei, tip=wei, cap=wei, tip_cap=wei)
def test_a_replacement_offers_an_eighth_more_of_both_within_the_cap(
    first: int, first_tip: int, base_fee: int, tip: int, cap: int, tip_cap: int
) -> None:
    previous = Fees(max_fee=first + first_tip, max_priority_fee=first_tip)
    offered = offered_fees(base_fee=base_fee, tip=tip, cap=cap, tip_cap=tip_cap)
    fees = replacing_fees(previous, offered, cap=cap, tip_cap=tip_cap)
    if fees is not None:
        assert 8 * fees.max_fee >= 9 * previous.max_fee
        assert 8 * fees.max_priority_fee >= 9 * previous.max_priority_fee
        assert fees.max_fee > previous.max_fee
        assert fees.max_priority_fee > previous.max_priority_fee
        assert fees.max_priority_fee <= fees.max_fee <= cap
        assert fees.max_priority_fee <= tip_cap


def test_without_room_below_the_cap_nothing_is_replaced() -> None:
    previous = Fees(max_fee=90, max_priority_fee=8)
    assert replacing_fees(previous, Fees(max_fee=50, max_priority_fee=5), cap=101, tip_cap=1_000) is None
    assert replacing_fees(previous, Fees(max_fee=50, max_priority_fee=5), cap=102, tip_cap=1_000) == Fees(
        max_fee=102, max_priority_fee=9
    )
