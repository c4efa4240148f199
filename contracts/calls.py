"""Calldata for our contracts and the meaning of what they answer, from the ABI of the artifacts."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError

from attest.encoding.keccak import keccak256
from attest.formats.certificate import Certificate
from attest.formats.committee import Committee, config_digest
from attest.formats.leaf import AccountLeaf, FeedLeaf
from contracts import artifact
from riskschema.errors import InvalidData
from riskschema.units import Address

_WITH_ERRORS = ("RiskOracle", "EcdsaBitmapVerifier", "ExamplePool")


class Revert(msgspec.Struct, frozen=True):
    """Why a contract refused: the error's name and its arguments."""

    name: str
    arguments: tuple[Any, ...]

    def __str__(self) -> str:
        shown = (f"0x{value.hex()}" if isinstance(value, bytes) else str(value) for value in self.arguments)
        return f"{self.name}({', '.join(shown)})"


def publish_call(certificate: Certificate) -> bytes:
    """Return calldata of ``RiskOracle.publish``.

    Raises:
        InvalidData: the certificate holds a value outside its type.
    """
    return encode_call(
        "RiskOracle", "publish", certificate.header, certificate.bitmap, b"".join(certificate.signatures)
    )


def verify_account_call(
    *, round_number: int, leaf: AccountLeaf, proof: tuple[bytes, ...], max_age: int, min_coverage: int
) -> bytes:
    """Return calldata of ``RiskOracle.verifyAccount`` (a view; seconds; venues as bits).

    Raises:
        InvalidData: a value is outside its type.
    """
    return encode_call("RiskOracle", "verifyAccount", round_number, leaf, proof, max_age, min_coverage)


def verify_feed_call(*, round_number: int, leaf: FeedLeaf, proof: tuple[bytes, ...], max_age: int) -> bytes:
    """Return calldata of ``RiskOracle.verifyFeed`` (a view; seconds).

    Raises:
        InvalidData: a value is outside its type.
    """
    return encode_call("RiskOracle", "verifyFeed", round_number, leaf, proof, max_age)


def initialize_call(
    committee: Committee, *, verifier: Address, max_future_skew: int, guardian: Address | None
) -> bytes:
    """Return calldata of ``RiskOracle.initialize`` for a committee checked by ECDSA and bitmap.

    Raises:
        InvalidData: the committee is none.
    """
    setup = (
        config_digest(committee),
        committee.destinations,
        b"".join(signer.to_bytes() for signer in committee.signers),
        verifier,
        max_future_skew,
        guardian or Address("0x" + "00" * 20),
    )
    return encode_call("RiskOracle", "initialize", setup)


def encode_deployment(contract: str, *arguments: Any) -> bytes:
    """Return creation code with its constructor's arguments.

    Raises:
        InvalidData: an argument does not fit its type.
    """
    constructor = [entry for entry in artifact(contract).abi if entry["type"] == "constructor"]
    code = bytes.fromhex(artifact(contract).bytecode[2:])
    return code + _encode(constructor[0]["inputs"], arguments, contract) if constructor else code


def encode_call(contract: str, function: str, *arguments: Any) -> bytes:
    """Return selector and arguments of a call; structs may be given as structs or tuples.

    Raises:
        InvalidData: an argument does not fit its type.
    """
    entry = _entry(contract, "function", function)
    return keccak256(_signature(entry).encode())[:4] + _encode(entry["inputs"], arguments, function)


def decode_result(contract: str, function: str, data: bytes) -> tuple[Any, ...]:
    """Return what a function returned.

    Raises:
        InvalidData: the bytes are not what the ABI says.
    """
    return _decode(_entry(contract, "function", function)["outputs"], data, function)


def event_topic(contract: str, event: str) -> str:
    """Return the first topic of an event's logs, hexadecimal, to filter them by."""
    return "0x" + keccak256(_signature(_entry(contract, "event", event)).encode()).hex()


def decode_event(contract: str, event: str, *, topics: list[bytes], data: bytes) -> dict[str, Any]:
    """Return an event's values by name; ``topics[0]`` must be the event's own.

    Raises:
        InvalidData: another event, or bytes that are not what the ABI says.
    """
    entry = _entry(contract, "event", event)
    indexed = [argument for argument in entry["inputs"] if argument["indexed"]]
    if len(topics) != 1 + len(indexed) or topics[0] != keccak256(_signature(entry).encode()):
        raise InvalidData(f"{event}: the log is of another event", code="answer_malformed")
    plain = [argument for argument in entry["inputs"] if not argument["indexed"]]
    values = _decode(indexed, b"".join(topics[1:]), event) + _decode(plain, data, event)
    return dict(zip([argument["name"] for argument in indexed + plain], values, strict=True))


def decode_revert(data: bytes) -> Revert:
    """Say why a call reverted; an error that is not ours keeps its bytes under the name ``Unknown``."""
    entry = _errors().get(bytes(data[:4]))
    if entry is None:
        return Revert("Unknown", (bytes(data),))
    try:
        return Revert(entry["name"], _decode(entry["inputs"], data[4:], entry["name"]))
    except InvalidData:
        return Revert("Unknown", (bytes(data),))


@cache
def _errors() -> dict[bytes, dict[str, Any]]:
    entries: Iterator[dict[str, Any]] = (
        entry for contract in _WITH_ERRORS for entry in artifact(contract).abi if entry["type"] == "error"
    )
    return {keccak256(_signature(entry).encode())[:4]: entry for entry in entries}


def _entry(contract: str, kind: str, name: str) -> dict[str, Any]:
    for entry in artifact(contract).abi:
        if entry["type"] == kind and entry.get("name") == name:
            return entry
    raise KeyError(f"{contract} has no {kind} {name}")


def _signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(_type(argument) for argument in entry['inputs'])})"


def _type(argument: dict[str, Any]) -> str:
    kind: str = argument["type"]
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(_type(component) for component in argument["components"])
    return f"({inner}){kind.removeprefix('tuple')}"


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return _plain(msgspec.structs.astuple(value))
    if isinstance(value, tuple | list):
        return tuple(_plain(item) for item in value)
    return value


def _encode(inputs: list[dict[str, Any]], arguments: tuple[Any, ...], what: str) -> bytes:
    try:
        return encode([_type(argument) for argument in inputs], _plain(arguments))
    except (EncodingError, ValueError, TypeError) as error:
        raise InvalidData(f"{what}: cannot be encoded: {error}", code="malformed") from error


def _decode(outputs: list[dict[str, Any]], data: bytes, what: str) -> tuple[Any, ...]:
    try:
        return tuple(decode([_type(argument) for argument in outputs], data))
    except (DecodingError, ValueError, OverflowError) as error:
        raise InvalidData(f"{what}: the answer does not decode: {error}", code="answer_malformed") from error
