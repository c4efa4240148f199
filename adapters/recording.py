"""Recordings: every raw answer an adapter got at a pinned block, hashed, so that a reading can be repeated bit for bit.

A file is JSON: ``{"recording": {...}, "sha256": "0x…"}``. The hash is over the canonical bytes of ``recording``: the
msgspec encoding in the order of `Recording`'s fields, entries sorted. docs/adding-an-adapter.md describes the fields.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from adapters.discovery import discover
from riskschema.codec import MAX_DOCUMENT_BYTES, decode_json, encode_json
from riskschema.errors import FatalError, InvalidData
from riskschema.holders import Log
from riskschema.instruments import FactorId, protocol_of
from riskschema.portfolio import BlockReference, VenueReading
from riskschema.ports import (
    AssetFactors,
    Call,
    CallResult,
    CallReverted,
    CallSuccess,
    IndexedAsset,
    PinnedReader,
    ProtocolAdapter,
)
from riskschema.units import Address, Amount, Hash32

FORMAT: Final = 1

HexBytes = Annotated[str, Meta(pattern="^0x([0-9a-f]{2})*$")]


class RecordedCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, order=True):
    """One contract call and its raw answer."""

    to: Address
    data: HexBytes
    gas: Annotated[int, Meta(ge=0, le=2**53)]
    ending: Literal["returned", "reverted"] = msgspec.field(name="outcome")
    answer: HexBytes


class RecordedBalance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One balance of the chain's own coin, wei."""

    account: Address
    balance: Amount


class RecordedLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event log."""

    address: Address
    topics: tuple[Hash32, ...]
    data: HexBytes
    block_number: int
    index: int = 0
    block_hash: Hash32 = Hash32(bytes(32))


class RecordedQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One query of logs and all it found, in the order of the chain."""

    addresses: tuple[Address, ...]
    topics: tuple[tuple[Hash32, ...], ...]
    from_block: int
    logs: tuple[RecordedLog, ...]


class Recording(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one adapter asked at one block, and what it was answered."""

    format: Literal[1]
    protocol: str
    deployment: dict[str, Any]
    """The table of addresses the adapter was made with."""
    assets: dict[str, FactorId | IndexedAsset] = {}
    """Which factor each token follows, by address, as the adapter was told."""
    block: BlockReference
    accounts: tuple[Address, ...]
    calls: tuple[RecordedCall, ...]
    balances: tuple[RecordedBalance, ...]
    queries: tuple[RecordedQuery, ...]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    recording: Recording
    sha256: Hash32


class RecordingReader:
    """A `PinnedReader` that passes everything through and remembers it."""

    def __init__(self, reader: PinnedReader) -> None:
        self._reader = reader
        self._calls: dict[Call, CallResult] = {}
        self._balances: dict[Address, int] = {}
        self._queries: dict[_Query, tuple[Log, ...]] = {}

    @property
    def block(self) -> BlockReference:
        """The pinned block."""
        return self._reader.block

    @property
    def where(self) -> str:
        """Whose word it is."""
        return self._reader.where

    @property
    def witnesses(self) -> int:
        """How many endpoints gave each answer alike."""
        return self._reader.witnesses

    def confirming(self) -> PinnedReader | None:
        """Return nothing: what is recorded is what was asked first."""
        return None

    async def has_code(self, addresses: Sequence[Address]) -> tuple[bool, ...]:
        """Tell at which addresses there is a contract; not remembered."""
        return await self._reader.has_code(addresses)

    async def call(self, calls: Sequence[Call]) -> tuple[CallResult, ...]:
        """Run `calls` and remember the answers."""
        results = await self._reader.call(calls)
        self._calls.update(zip(calls, results, strict=True))
        return results

    async def native_balances(self, accounts: Sequence[Address]) -> tuple[int, ...]:
        """Read balances and remember them."""
        balances = await self._reader.native_balances(accounts)
        self._balances.update(zip(accounts, balances, strict=True))
        return balances

    async def logs(
        self,
        *,
        addresses: Sequence[Address],
        topics: Sequence[Sequence[Hash32]],
        from_block: int,
        to_block: int | None = None,
    ) -> tuple[Log, ...]:
        """Read logs up to the pinned block and remember them; up to an earlier one there is no recording."""
        logs = await self._reader.logs(addresses=addresses, topics=topics, from_block=from_block)
        self._queries[_query(addresses, topics, from_block)] = logs
        return logs

    def recording(
        self,
        *,
        protocol: str,
        deployment: dict[str, Any],
        accounts: Sequence[Address],
        assets: AssetFactors | None = None,
    ) -> Recording:
        """Return what was read so far."""
        return Recording(
            format=FORMAT,
            protocol=protocol,
            deployment=deployment,
            assets={str(address): factor for address, factor in sorted((assets or {}).items())},
            block=self.block,
            accounts=tuple(accounts),
            calls=tuple(sorted(_recorded_call(call, result) for call, result in self._calls.items())),
            balances=tuple(
                RecordedBalance(account=account, balance=Amount(balance))
                for account, balance in sorted(self._balances.items())
            ),
            queries=tuple(_recorded_query(query, self._queries[query]) for query in sorted(self._queries)),
        )


class ReplayReader:
    """A `PinnedReader` that answers from a recording, and nothing else."""

    def __init__(self, recording: Recording) -> None:
        self._block = recording.block
        self._calls = {Call(each.to, _bytes(each.data), each.gas): _result(each) for each in recording.calls}
        self._balances = {each.account: int(each.balance) for each in recording.balances}
        self._queries = {
            _query(each.addresses, each.topics, each.from_block): tuple(_log(log) for log in each.logs)
            for each in recording.queries
        }

    @property
    def block(self) -> BlockReference:
        """The recorded block."""
        return self._block

    @property
    def where(self) -> str:
        """Whose word it is."""
        return "the recording"

    @property
    def witnesses(self) -> int:
        """One: the recording."""
        return 1

    def confirming(self) -> PinnedReader | None:
        """Return nothing: there is one recording."""
        return None

    async def has_code(self, addresses: Sequence[Address]) -> tuple[bool, ...]:
        """Tell where a recorded call returned something, or reverted."""
        answering = {
            call.to for call, result in self._calls.items() if not isinstance(result, CallSuccess) or result.data
        }
        return tuple(address in answering for address in addresses)

    async def call(self, calls: Sequence[Call]) -> tuple[CallResult, ...]:
        """Return the recorded answers.

        Raises:
            InvalidData: a call was not recorded; the message names it.
        """
        for call in calls:
            if call not in self._calls:
                raise _unrecorded(f"a call of {call.to} with data 0x{call.data.hex()[:72]}")
        return tuple(self._calls[call] for call in calls)

    async def native_balances(self, accounts: Sequence[Address]) -> tuple[int, ...]:
        """Return the recorded balances.

        Raises:
            InvalidData: one was not recorded.
        """
        for account in accounts:
            if account not in self._balances:
                raise _unrecorded(f"the balance of {account}")
        return tuple(self._balances[account] for account in accounts)

    async def logs(
        self,
        *,
        addresses: Sequence[Address],
        topics: Sequence[Sequence[Hash32]],
        from_block: int,
        to_block: int | None = None,
    ) -> tuple[Log, ...]:
        """Return the recorded logs of exactly this query.

        Raises:
            InvalidData: it was not recorded.
        """
        query = _query(addresses, topics, from_block)
        if query not in self._queries:
            raise _unrecorded(f"logs of {len(addresses)} contracts from block {from_block}")
        return self._queries[query]


async def record(
    adapter: ProtocolAdapter,
    reader: PinnedReader,
    accounts: Sequence[Address],
    path: Path,
    *,
    deployment: dict[str, Any] | None = None,
    assets: AssetFactors | None = None,
    start_block: int | None = None,
) -> VenueReading:
    """Read `accounts` through `adapter`, write every raw answer to `path`, and return the reading.

    Args:
        adapter: The adapter to record.
        reader: A reader of the pinned block.
        accounts: Whom to read.
        path: The file to write, whole or not at all.
        deployment: The table the adapter was made from, kept in the file so that a replay can make it again.
        assets: Which factor each token follows, kept likewise.
        start_block: Record also whom discovery finds from this block on; None: only the reading.

    Raises:
        TransientError: the endpoint failed; nothing is written.
        FatalError: the file cannot be written.
    """
    recorder = RecordingReader(reader)
    reading = await adapter.read(recorder, accounts)
    if start_block is not None:
        found = await discover(adapter, recorder, start_block=start_block)
        await adapter.books(recorder, found.known)
        await adapter.holdings(recorder, found.known, found.holders)
    recording = recorder.recording(
        protocol=protocol_of(adapter.venue), deployment=deployment or {}, accounts=accounts, assets=assets
    )
    write_recording(recording, path)
    return reading


def canonical_bytes(recording: Recording) -> bytes:
    """Return the bytes that the hash of a recording is over."""
    return encode_json(recording)


def write_recording(recording: Recording, path: Path) -> Hash32:
    """Write a recording with its hash, whole or not at all; return the hash.

    Raises:
        FatalError: the file cannot be written.
    """
    digest = Hash32(hashlib.sha256(canonical_bytes(recording)).digest())
    document = msgspec.json.format(encode_json(_File(recording=recording, sha256=digest)), indent=1)
    try:
        _replace(path, document + b"\n")
    except OSError as error:
        raise FatalError(f"cannot write {path}: {error.strerror}", code="file_unreadable") from error
    return digest


def _replace(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step: a crash leaves the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def read_recording(path: Path) -> Recording:
    """Read a recording and check its hash.

    Raises:
        InvalidData: the file cannot be read, is no recording, or is not what was written.
    """
    try:
        with path.open("rb") as file:
            document = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise InvalidData(f"{path}: {error.strerror}", code="file_unreadable") from error
    file_ = decode_json(document, _File, what=str(path))
    digest = Hash32(hashlib.sha256(canonical_bytes(file_.recording)).digest())
    if digest != file_.sha256:
        raise InvalidData(
            f"{path}: the content hashes to {digest}, the file says {file_.sha256}: it was changed after recording",
            code="invalid_document",
        )
    return file_.recording


def load_recording(path: Path) -> ReplayReader:
    """Return a reader that replays a file bit for bit.

    Raises:
        InvalidData: see `read_recording`.
    """
    return ReplayReader(read_recording(path))


_Query = tuple[tuple[Address, ...], tuple[tuple[Hash32, ...], ...], int]


def _query(addresses: Sequence[Address], topics: Sequence[Sequence[Hash32]], from_block: int) -> _Query:
    return tuple(addresses), tuple(tuple(accepted) for accepted in topics), from_block


def _recorded_call(call: Call, result: CallResult) -> RecordedCall:
    return RecordedCall(
        to=call.to,
        data="0x" + call.data.hex(),
        gas=call.gas,
        ending="reverted" if isinstance(result, CallReverted) else "returned",
        answer="0x" + result.data.hex(),
    )


def _recorded_query(query: _Query, logs: tuple[Log, ...]) -> RecordedQuery:
    addresses, topics, from_block = query
    return RecordedQuery(
        addresses=addresses,
        topics=topics,
        from_block=from_block,
        logs=tuple(
            RecordedLog(
                address=log.address,
                topics=log.topics,
                data="0x" + log.data.hex(),
                block_number=log.block_number,
                index=log.index,
                block_hash=log.block_hash,
            )
            for log in logs
        ),
    )


def _result(recorded: RecordedCall) -> CallResult:
    data = _bytes(recorded.answer)
    # the wording of a revert is the client's, not the chain's, and is not recorded
    return CallReverted(data, "reverted") if recorded.ending == "reverted" else CallSuccess(data)


def _log(recorded: RecordedLog) -> Log:
    return Log(
        recorded.address,
        recorded.topics,
        _bytes(recorded.data),
        recorded.block_number,
        recorded.index,
        recorded.block_hash,
    )


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def _unrecorded(what: str) -> InvalidData:
    return InvalidData(f"the recording does not hold {what}", code="invalid_document")
