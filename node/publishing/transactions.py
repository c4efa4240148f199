"""EIP-1559 transactions as bytes, and how much they offer for gas. Pure: no endpoint, no key, no clock."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from attest.encoding.keccak import keccak256
from riskschema.errors import InvalidData
from riskschema.ports import Signer
from riskschema.units import Address, Hash32

DYNAMIC_FEE = b"\x02"
"""Transaction type of EIP-1559 (EIP-2718 envelope)."""
_SIGNED_FIELDS = 12

Rlp = bytes | list["Rlp"]


class Fees(msgspec.Struct, frozen=True, kw_only=True):
    """Offer per gas, in wei."""

    max_fee: int
    max_priority_fee: int


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """What a replacement keeps of the transaction it replaces."""

    to: Address | None
    """None creates a contract."""
    data: bytes
    gas: int


class SignedTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction ready to broadcast."""

    raw: bytes
    hash: Hash32


def offered_fees(*, base_fee: int, tip: int, cap: int, tip_cap: int) -> Fees:
    """Return what to offer: the tip, and room for six full blocks of rising base fee, never above the caps.

    Args:
        base_fee: Of the newest block, in wei.
        tip: What the endpoint suggests as priority fee, in wei. It may lie.
        cap: The most that may ever be paid per gas, in wei.
        tip_cap: The most of it that may be priority fee; a first offer takes half, or it could never be replaced.
    """
    tip = min(tip, max(tip_cap // 2, 1))
    max_fee = min(cap, 2 * base_fee + tip)
    return Fees(max_fee=max_fee, max_priority_fee=min(tip, max_fee))


def least_gas(data: bytes) -> int:
    """Return the gas limit below which no chain takes a call with these bytes (EIP-2028, and the floor of EIP-7623)."""
    zeros = data.count(0)
    return 21_000 + 10 * zeros + 40 * (len(data) - zeros)


def replacing_fees(previous: Fees, offered: Fees, *, cap: int, tip_cap: int) -> Fees | None:
    """Return fees that replace a transaction of the same nonce, or None if a cap leaves no room.

    Both fees rise by at least an eighth: clients ask for a tenth (geth's ``txpool.pricebump``) to an eighth.
    """
    max_fee = max(offered.max_fee, _eighth_more(previous.max_fee))
    if max_fee > cap:
        return None
    tip = max(offered.max_priority_fee, _eighth_more(previous.max_priority_fee))
    return None if tip > min(max_fee, tip_cap) else Fees(max_fee=max_fee, max_priority_fee=tip)


def sign_transaction(chain_id: int, nonce: int, payload: Payload, fees: Fees, signer: Signer) -> SignedTransaction:
    """Sign a call without value (EIP-1559).

    Args:
        chain_id: EIP-155 chain id.
        nonce: Of the signer's account.
        payload: The call and its gas limit.
        fees: The offer.
        signer: The paying account's key.
    """
    fields: list[Rlp] = [
        *(_integer(value) for value in (chain_id, nonce, fees.max_priority_fee, fees.max_fee, payload.gas)),
        payload.to.to_bytes() if payload.to else b"",
        _integer(0),
        payload.data,
        [],
    ]
    signature = signer.sign(keccak256(DYNAMIC_FEE + _encode(fields)))
    r, s = (int.from_bytes(signature[start : start + 32], "big") for start in (0, 32))
    raw = DYNAMIC_FEE + _encode([*fields, _integer(signature[64] - 27), _integer(r), _integer(s)])
    return SignedTransaction(raw=raw, hash=Hash32(keccak256(raw)))


def created_address(sender: Address, nonce: int) -> Address:
    """Return where a contract-creating transaction puts the contract (Ethereum yellow paper, equation 88)."""
    return Address("0x" + keccak256(_encode([sender.to_bytes(), _integer(nonce)]))[12:].hex())


def payload_of(raw: bytes) -> Payload:
    """Return target, data and gas limit of a transaction made by `sign_transaction`.

    Raises:
        InvalidData: the bytes are none.
    """
    try:
        fields, rest = _decode(raw[1:])
    except (ValueError, IndexError) as error:
        raise InvalidData(f"kept transaction: {error}", code="malformed") from error
    if raw[:1] != DYNAMIC_FEE or rest or len(fields) != _SIGNED_FIELDS:
        raise InvalidData("kept transaction: not a signed EIP-1559 transaction", code="malformed")
    gas, to, data = (field if isinstance(field, bytes) else b"" for field in (fields[4], fields[5], fields[7]))
    return Payload(to=Address("0x" + to.hex()) if to else None, data=data, gas=int.from_bytes(gas, "big"))


def most_cost(raw: bytes, max_fee: int) -> int:
    """Return the most that a signed transaction can cost, in wei, whatever a receipt says later.

    Args:
        raw: Made by `sign_transaction`.
        max_fee: What it offers per gas, in wei.
    """
    return payload_of(raw).gas * max_fee


def _eighth_more(value: int) -> int:
    return value + -(-value // 8) if value else 1


def _integer(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _encode(value: Rlp) -> bytes:
    """Encode as RLP (Ethereum yellow paper, appendix B)."""
    if isinstance(value, bytes):
        single = len(value) == 1 and value[0] < 0x80
        return value if single else _prefix(len(value), 0x80) + value
    body = b"".join(_encode(item) for item in value)
    return _prefix(len(body), 0xC0) + body


def _prefix(length: int, offset: int) -> bytes:
    if length < 56:
        return bytes([offset + length])
    size = _integer(length)
    return bytes([offset + 55 + len(size)]) + size


def _decode(data: bytes) -> tuple[Sequence[Rlp], bytes]:
    """Decode one RLP list; return its items and the bytes after it."""
    body, rest, is_list = _item(data)
    if not is_list:
        raise ValueError("no list")
    items: list[Rlp] = []
    while body:
        item, body, nested = _item(body)
        if nested and item:
            raise ValueError("an access list was never written")
        items.append([] if nested else item)
    return items, rest


def _item(data: bytes) -> tuple[bytes, bytes, bool]:
    """Return the first item's bytes, what follows it, and whether it is a list."""
    first = data[0]
    if first < 0x80:
        return data[:1], data[1:], False
    offset = 0xC0 if first >= 0xC0 else 0x80
    length, start = first - offset, 1
    if length > 55:
        start = 1 + length - 55
        length = int.from_bytes(data[1:start], "big")
    end = start + length
    if end > len(data):
        raise ValueError("truncated")
    return data[start:end], data[end:], offset == 0xC0
