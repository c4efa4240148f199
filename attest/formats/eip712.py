"""EIP-712 signatures over report headers, valid for all destinations of a committee and for no other contract.

The domain has a name, a version and a salt, but no single chain or contract: the salt is the hash of the list of all
destinations, so that one signature serves every chain on which the committee publishes.
"""

from collections.abc import Sequence
from itertools import pairwise

import coincurve
import msgspec

from attest.encoding.abi_types import AbiAddress, Uint64, encode_struct
from attest.encoding.keccak import keccak256
from attest.formats.header import ReportHeader, report_hash
from riskschema.errors import InvalidData, ProtocolViolation
from riskschema.units import Address

DOMAIN_NAME = "Plimsoll"
DOMAIN_VERSION = "1"
SIGNATURE_BYTES = 65
MAX_DESTINATIONS = 64

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_DOMAIN_TYPE_HASH = keccak256(b"EIP712Domain(string name,string version,bytes32 salt)")


class Destination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A RiskOracle contract on one chain."""

    chain_id: Uint64
    oracle: AbiAddress


def encode_destinations(destinations: Sequence[Destination]) -> bytes:
    """Return Solidity's ``abi.encode(Destination[])`` of the sorted list.

    Raises:
        InvalidData: no destination, more than 64, or not in strictly increasing (chain id, address) order.
    """
    words = [encode_struct(destination) for destination in destinations]
    if not 1 <= len(words) <= MAX_DESTINATIONS:
        raise InvalidData(
            f"a committee has 1 to {MAX_DESTINATIONS} destinations, not {len(words)}",
            code="invalid_settings",
        )
    if any(first >= second for first, second in pairwise(words)):
        raise InvalidData(
            "destinations must be sorted by chain id and address, each named once", code="invalid_settings"
        )
    return (32).to_bytes(32, "big") + len(words).to_bytes(32, "big") + b"".join(words)


def domain_separator(destinations: Sequence[Destination]) -> bytes:
    """Return the EIP-712 domain separator whose salt is keccak of `encode_destinations`.

    Raises:
        InvalidData: as `encode_destinations`.
    """
    name, version = keccak256(DOMAIN_NAME.encode()), keccak256(DOMAIN_VERSION.encode())
    salt = keccak256(encode_destinations(destinations))
    return keccak256(_DOMAIN_TYPE_HASH + name + version + salt)


def signing_digest(header: ReportHeader, destinations: Sequence[Destination]) -> bytes:
    """Return the 32 bytes an operator signs: keccak(0x1901 ‖ domain separator ‖ report hash).

    Raises:
        InvalidData: the header or the destinations cannot be encoded.
    """
    return digest_in_domain(domain_separator(destinations), report_hash(header))


def digest_in_domain(separator: bytes, report: bytes) -> bytes:
    """Return keccak(0x1901 ‖ domain separator ‖ report hash)."""
    return keccak256(b"\x19\x01" + separator + report)


def sign_digest(digest: bytes, private_key: bytes) -> bytes:
    """Return the 65 bytes r ‖ s ‖ v of a deterministic (RFC 6979), low-s signature; v is 27 or 28."""
    signature = coincurve.PrivateKey(private_key).sign_recoverable(digest, hasher=None)
    return signature[:64] + bytes([signature[64] + 27])


def recover_signer(digest: bytes, signature: bytes) -> Address:
    """Return the address that signed, accepting only what the contract accepts.

    Raises:
        ProtocolViolation: wrong length, v neither 27 nor 28, s above half the curve order, or no key recoverable.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise _malformed(f"expected {SIGNATURE_BYTES} bytes, got {len(signature)}")
    if signature[64] not in (27, 28):
        raise _malformed(f"v is {signature[64]}, neither 27 nor 28")
    if int.from_bytes(signature[32:64], "big") > CURVE_ORDER // 2:
        raise _malformed("s is above half the curve order")
    try:
        key = coincurve.PublicKey.from_signature_and_message(
            signature[:64] + bytes([signature[64] - 27]), digest, hasher=None
        )
    except ValueError as error:
        raise _malformed("no public key can be recovered") from error
    return address_of(key.format(compressed=False))


def address_of(public_key: bytes) -> Address:
    """Return the address of an uncompressed secp256k1 public key (65 bytes, the first 0x04)."""
    return Address("0x" + keccak256(public_key[1:])[12:].hex())


def _malformed(reason: str) -> ProtocolViolation:
    return ProtocolViolation(f"signature refused: {reason}", code="malformed")
