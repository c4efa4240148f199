"""What a JSON-RPC answer means: a fact of the chain, or a failure of the endpoint.

The distinction decides what the node does. A *fact* at the pinned block (a contract reverts) is seen alike by everyone
and lowers the coverage; a *local failure* (the endpoint lags, limits or is broken) makes this node abstain. Clients
agree on neither codes nor wording, so both are looked at:

==================  =====================================================================================
fact                code 3 (geth, reth, erigon, anvil), -32015 (Nethermind), or an EVM error in words; running
                    out of the fixed gas of a call belongs here, since every node gives the same gas
unknown block       -32001 (EIP-1474), ``header not found``, ``not currently canonical``, pruned state
rate limit          HTTP 429, -32005, or in words: retried
refused             anything else
==================  =====================================================================================

A contract chooses its own revert reason, so nothing after ``execution reverted`` may decide.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

from riskschema.errors import TransientError
from riskschema.holders import PLACES, Log
from riskschema.portfolio import BlockReference
from riskschema.ports import CallReverted
from riskschema.units import Address, Hash32

REVERT_CODES = frozenset({3, -32015})
UNKNOWN_BLOCK_CODES = frozenset({-32001})
RATE_LIMIT_CODES = frozenset({429, -32005})

_REVERTED = re.compile(r"(vm exception while processing transaction: )?(execution reverted|reverted?\b)", re.IGNORECASE)
_EVM_FAILURE = re.compile(
    r"out ?of ?gas|gas required exceeds|invalid opcode|opcode not found|opcodenotfound|invalidfeopcode|stack ?underflow"
    r"|stack ?overflow|stack limit reached|invalid ?jump|write protection|state ?change ?during ?static|notactivated"
    r"|return ?data out of bounds|outofoffset|max call depth|calltoodeep|callnotallowedinsidestatic|precompileerror"
    # revm's names; only a fatal one is the client's own trouble
    r"|^evm error:? (?!fatal)\w+(\(\w+\))?$|memory ?limit|outoffunds|insufficient balance for transfer"
    r"|vm execution error",
    re.IGNORECASE,
)
_UNKNOWN_BLOCK = re.compile(
    r"header not found|unknown block|block[^.]{0,90}(not (be )?found|out of range)|blockoutofrange"
    r"|not (currently )?canonical|missing trie node|state[^.]{0,90}not available|historical state|pruned",
    re.IGNORECASE,
)
_PRUNED = re.compile(
    r"missing trie node|historical state|state[^.]{0,90}not available|pruned|history[^.]{0,40}(unavailable|expired)",
    re.IGNORECASE,
)
_RATE_LIMIT = re.compile(r"rate.?limit|too many requests|compute units per second|request limit", re.IGNORECASE)
_TOO_MANY_LOGS = re.compile(
    r"more than \d+ (results|logs)|too many (results|logs)|block range|range[^.]{0,40}(large|wide|exceed|limit)"
    r"|response size|query (timeout|exceeds|returned)|max(imum)? (results|logs)",
    re.IGNORECASE,
)
_HEX_BYTES = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_HEX_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_MESSAGE_LIMIT = 200


class RpcError(msgspec.Struct, frozen=True):
    """The error object of a JSON-RPC answer."""

    code: int = 0
    message: str = ""
    data: Any = None


class WrittenLog(msgspec.Struct, frozen=True, gc=False):
    """A log as it is written, without what nobody needs of it; unchecked."""

    address: Any = None
    topics: Any = None
    data: Any = None
    blockNumber: Any = None  # noqa: N815 - names of the JSON-RPC
    logIndex: Any = None  # noqa: N815
    blockHash: Any = None  # noqa: N815


class LogsAnswer(msgspec.Struct, frozen=True):
    """An `RpcAnswer` to a query of logs."""

    id: int | str | None = None
    result: list[WrittenLog] | None = None
    error: RpcError | None = None


class RpcAnswer(msgspec.Struct, frozen=True):
    """One answer; `result` is untyped until a reader asks for a meaning."""

    id: int | str | None = None
    result: Any = None
    error: RpcError | None = None


def malformed(where: str, what: str) -> TransientError:
    """Return the error for an answer that no correct endpoint gives."""
    return TransientError(f"{where}: {what}; replace the endpoint", code="endpoint_malformed")


def as_revert(error: RpcError) -> CallReverted | None:
    """Return the revert that `error` reports, or None if it is no fact of the chain."""
    message = error.message.strip()
    reverted = error.code in REVERT_CODES or _REVERTED.match(message) is not None
    if not reverted and (_is_local(error) or not _EVM_FAILURE.search(message)):
        return None
    return CallReverted(data=_revert_data(error), message=printable(message) or "reverted")


def is_rate_limit(error: RpcError) -> bool:
    """Tell a plea to slow down from a revert or a log query that is too wide, which share codes and words."""
    return _speaks_of_rate(error) and as_revert(error) is None and not is_too_many_logs(error)


def is_rate_limit_in_words(error: RpcError) -> bool:
    """Tell a plea to slow down whose words say so: its code alone may also mean that a range of logs is too wide."""
    return is_rate_limit(error) and (error.code == 429 or _RATE_LIMIT.search(error.message) is not None)


def is_pruned(error: RpcError | None) -> bool:
    """Tell whether the endpoint says that it does not keep what is as old as that."""
    return error is not None and as_revert(error) is None and _PRUNED.search(error.message) is not None


def is_too_many_logs(error: RpcError) -> bool:
    """Tell whether a log query should be repeated over fewer blocks."""
    return _TOO_MANY_LOGS.search(error.message) is not None


def failure(error: RpcError, where: str) -> TransientError:
    """Return the local failure that `error` reports."""
    said = f"{printable(error.message) or 'no message'} (code {error.code})"
    if is_pruned(error):
        return TransientError(f"{where}: does not keep so old a block: {said}", code="history_pruned")
    if error.code in UNKNOWN_BLOCK_CODES or _UNKNOWN_BLOCK.search(error.message):
        return TransientError(f"{where}: does not know the block: {said}", code="block_unknown")
    return TransientError(f"{where}: refused: {said}", code="endpoint_refused")


def printable(text: str) -> str:
    """Return at most 200 characters of foreign text that no terminal or log can be confused by."""
    return "".join(sign if sign.isascii() and sign.isprintable() else "?" for sign in text[:_MESSAGE_LIMIT])


def to_bytes(value: object, where: str) -> bytes:
    """Read hexadecimal bytes.

    Raises:
        TransientError: `value` is no such string.
    """
    if not isinstance(value, str) or not _HEX_BYTES.fullmatch(value):
        raise malformed(where, "answered no hexadecimal bytes")
    return bytes.fromhex(value[2:])


def to_quantity(value: object, where: str) -> int:
    """Read a hexadecimal integer below 2^256.

    Raises:
        TransientError: `value` is no such string.
    """
    if not isinstance(value, str) or not _HEX_QUANTITY.fullmatch(value):
        raise malformed(where, "answered no hexadecimal quantity")
    return int(value, 16)


def to_block(value: object, chain_id: int, where: str) -> BlockReference:
    """Read a block object.

    Raises:
        TransientError: the endpoint has no such block, or answered none.
    """
    if value is None:
        raise TransientError(f"{where}: does not know the block", code="block_unknown")
    if not isinstance(value, dict):
        raise malformed(where, "answered no block")
    number, timestamp = (to_quantity(value.get(key), where) for key in ("number", "timestamp"))
    if max(number, timestamp) > 2**53:
        raise malformed(where, "answered a block of an impossible height or time")
    return BlockReference(chain_id=chain_id, number=number, hash=_hash32(value.get("hash"), where), timestamp=timestamp)


def to_logs(value: object, where: str) -> list[Log]:
    """Read the logs of an answer.

    Raises:
        TransientError: `value` is no list of logs, or two of them have one place.
    """
    if not isinstance(value, list):
        raise malformed(where, "answered no list of logs")
    try:
        logs = [_log(each, where) for each in msgspec.convert(value, list[WrittenLog])]
    except msgspec.ValidationError as error:
        raise malformed(where, "answered no log") from error
    if len({log.place for log in logs}) < len(logs):
        raise malformed(where, "answered two logs of one place")
    return logs


def _log(written: WrittenLog, where: str) -> Log:
    if not isinstance(written.topics, list) or len(written.topics) > 4:
        raise malformed(where, "answered no log")
    try:
        address = _address(written.address)
    except (TypeError, ValueError) as error:
        raise malformed(where, "answered a log without an address") from error
    number, index = to_quantity(written.blockNumber, where), to_quantity(written.logIndex, where)
    if number > 2**53 or index >= PLACES:
        raise malformed(where, "answered a log at an impossible height or place")
    return Log(
        address=address,
        topics=tuple([_hash32(topic, where) for topic in written.topics]),
        data=to_bytes(written.data, where),
        block_number=number,
        index=index,
        block_hash=_hash32(written.blockHash, where),
    )


def _hash32(value: object, where: str) -> Hash32:
    try:
        return _known_hash(value)
    except (TypeError, ValueError) as error:
        raise malformed(where, "answered no 32-byte hash") from error


@lru_cache(maxsize=16_384)
def _known_hash(value: object) -> Hash32:
    """Return a hash; the topics and blocks of logs repeat, and one string for all of a kind takes less memory."""
    return Hash32(value if isinstance(value, str) else "")


@lru_cache(maxsize=1_024)
def _address(value: object) -> Address:
    return Address(value if isinstance(value, str) else "")


def _is_local(error: RpcError) -> bool:
    return (
        error.code in UNKNOWN_BLOCK_CODES or _UNKNOWN_BLOCK.search(error.message) is not None or _speaks_of_rate(error)
    )


def _speaks_of_rate(error: RpcError) -> bool:
    return error.code in RATE_LIMIT_CODES or _RATE_LIMIT.search(error.message) is not None


def _revert_data(error: RpcError) -> bytes:
    """Return the returned bytes: geth's ``data``, or Nethermind's ``Reverted 0x…``."""
    if not isinstance(error.data, str):
        return b""
    found = _HEX_BYTES.search(error.data)
    return bytes.fromhex(found[0][2:]) if found else b""
