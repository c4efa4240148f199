"""Contract functions as adapters use them: encode a call, decode its answer, or say why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_abi.grammar import TupleType, parse
from eth_hash.auto import keccak

from riskschema.errors import InvalidData
from riskschema.ports import CALL_GAS, Call, CallResult, CallReverted, PinnedReader
from riskschema.units import Address, Hash32

T = TypeVar("T")

MAX_ANSWER_BYTES = 262_144
"""Largest answer of one call that is decoded; no function read here comes near."""

_ERROR_STRING = keccak(b"Error(string)")[:4]
_PANIC = keccak(b"Panic(uint256)")[:4]
_REASON_LIMIT = 100


class ContractRefusal(InvalidData):
    """What a contract does not tell at the pinned block: a fact that all nodes see alike.

    Its message is made only of what the chain says, never of a client's wording, since it ends in reports.
    """


class Function:
    """A view function of a contract.

    Args:
        signature: Name and argument types, as in ``balanceOf(address)``.
        returns: Return types in brackets, as in ``(uint256)``.
        gas: What one call may use; less for contracts that anyone can put before the node.
    """

    def __init__(self, signature: str, returns: str, *, gas: int = CALL_GAS) -> None:
        self.signature = signature
        self.gas = gas
        self.selector = keccak(signature.encode())[:4]
        self._arguments = types_of(signature[signature.index("(") :])
        self._returns = types_of(returns)
        self._all_words = set(self._returns) == {"uint256"}

    def call(self, to: Address, *arguments: Any) -> Call:
        """Return the call of this function on `to`."""
        if self._arguments == ("address",):  # most calls: one account of thousands
            return Call(to, self.selector + bytes.fromhex(arguments[0][2:].rjust(64, "0")), self.gas)
        return Call(to, self.selector + encode(self._arguments, arguments), self.gas)

    def decode(self, result: CallResult, at: Address) -> tuple[Any, ...]:
        """Return the values that the contract `at` answered; addresses as `Address`.

        Raises:
            ContractRefusal: it reverted, has no code, or answered something else than the types say.
        """
        if isinstance(result, CallReverted):
            reason = revert_reason(result.data)
            raise ContractRefusal(f"{self.signature} at {at} reverts{reason and f': {reason}'}", code="call_reverted")
        if not result.data:
            raise ContractRefusal(f"{self.signature} at {at} returns nothing: no such contract", code="no_code")
        if len(result.data) > MAX_ANSWER_BYTES:
            raise ContractRefusal(f"{self.signature} at {at} returns too much", code="answer_malformed")
        if self._all_words and len(result.data) >= 32 * len(self._returns):
            return words(result.data[: 32 * len(self._returns)])
        try:
            return normalised(decode(self._returns, result.data))
        except (DecodingError, OverflowError, ValueError, RecursionError) as error:
            raise ContractRefusal(f"{self.signature} at {at} answers nonsense", code="answer_malformed") from error

    def decode_one(self, result: CallResult, at: Address) -> Any:
        """Return the first value of `decode`."""
        return self.decode(result, at)[0]


Question = tuple[Function, Address, tuple[Any, ...]]
"""A function, the contract, and the arguments."""

Answer = tuple[Any, ...] | ContractRefusal


async def ask(reader: PinnedReader, questions: Sequence[Question]) -> list[Answer]:
    """Ask many contracts at once; each answer is a tuple of values or the refusal.

    Raises:
        TransientError: the endpoint failed.
    """
    results = await reader.call([function.call(at, *arguments) for function, at, arguments in questions])
    return [_answer(function, result, at) for (function, at, _), result in zip(questions, results, strict=True)]


def _answer(function: Function, result: CallResult, at: Address) -> Answer:
    try:
        return function.decode(result, at)
    except ContractRefusal as refusal:
        return refusal


def known(value: T | ContractRefusal) -> T:
    """Return what was told.

    Raises:
        ContractRefusal: it was refused.
    """
    if isinstance(value, ContractRefusal):
        raise value
    return value


def types_of(brackets: str) -> tuple[str, ...]:
    """Return the types in ``(address,(uint256,bytes)[])``."""
    if brackets == "()":
        return ()
    parsed = parse(brackets)
    assert isinstance(parsed, TupleType)  # noqa: S101 - all signatures are written in this package
    return tuple(component.to_type_str() for component in parsed.components)


def words(data: bytes) -> tuple[int, ...]:
    """Return the 32-byte big-endian words of `data`."""
    return tuple(int.from_bytes(data[at : at + 32], "big") for at in range(0, len(data), 32))


def normalised(values: Iterable[Any]) -> tuple[Any, ...]:
    """Return decoded values with addresses as `Address`, recursively."""
    return tuple(_normal(value) for value in values)


def _normal(value: Any) -> Any:
    if isinstance(value, str) and len(value) == 42 and value.startswith("0x"):
        return Address(value)
    if isinstance(value, list | tuple):
        return normalised(value)
    return value


def event_topic(signature: str) -> Hash32:
    """Return topic 0 of an event, as in ``Transfer(address,address,uint256)``."""
    return Hash32(keccak(signature.encode()))


def address_topic(topic: Hash32) -> Address:
    """Return the address in an indexed topic."""
    return Address("0x" + topic[-40:])


def revert_reason(data: bytes) -> str:
    """Return what a revert says about itself: its text, panic code or error selector (empty: nothing)."""
    if data[:4] == _ERROR_STRING:
        try:
            return f"'{printable(decode(['string'], data[4:], strict=False)[0])}'"
        except (DecodingError, OverflowError, ValueError):
            return "unreadable reason"
    if data[:4] == _PANIC and len(data) >= 36:
        return f"panic {int.from_bytes(data[4:36], 'big') & 0xFF:#x}"
    return f"error 0x{data[:4].hex()}" if len(data) >= 4 else ""


def printable(text: str) -> str:
    """Return at most 100 characters of foreign text, everything but printable ASCII replaced by ``?``."""
    return "".join(sign if sign.isascii() and sign.isprintable() else "?" for sign in text[:_REASON_LIMIT])
