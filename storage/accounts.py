"""The accounts of a report to and from their chunks."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, Select, and_, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from riskschema.errors import FatalError
from riskschema.rounds import StoredAccount
from riskschema.units import Address, Hash32
from storage.packing import (
    AccountRow,
    Chunk,
    chunk_proofs,
    chunk_subjects,
    pack_accounts,
    unpack_values,
    with_subject,
)
from storage.proofs import HASH_BYTES, ProofNodes, proof_from, unpack_nodes
from storage.tables import ACCOUNT_CHUNKS, PROOF_NODES

CHUNKS_PER_FETCH = 4
ROUNDS_OF_NODES = 4
"""Whose proofs can be told without reading their nodes again."""

PackedAccounts = tuple[list[Chunk], bytes]
Key = tuple[Hash32, int]
"""Config digest and round."""


async def pack(accounts: Sequence[StoredAccount]) -> PackedAccounts:
    """Pack the accounts of a report in another thread: deflating lets the event loop go on.

    Raises:
        ValueError: two accounts of one subject.
    """
    return await asyncio.to_thread(lambda: pack_accounts([_row(account) for account in accounts]))


async def insert_accounts(connection: AsyncConnection, key: Key, packed: PackedAccounts) -> None:
    """Write packed accounts; their report is there already."""
    chunks, nodes = packed
    if not chunks:
        return
    of_round = {"config_digest": key[0], "round": key[1]}
    values = [
        {**of_round, "first_subject": chunk_subjects(chunk.subjects)[0], **msgspec.structs.asdict(chunk)}
        for chunk in chunks
    ]
    await connection.execute(insert(ACCOUNT_CHUNKS), values)
    await connection.execute(insert(PROOF_NODES).values({**of_round, "nodes": nodes}))


class AccountReader:
    """Reads accounts, and remembers the proof nodes of the rounds asked for last: they never change."""

    def __init__(self) -> None:
        self._nodes: OrderedDict[Key, ProofNodes] = OrderedDict()

    async def one(self, connection: AsyncConnection, key: Key, subject: Address) -> StoredAccount | None:
        """Return one account of a report."""
        wanted = subject.to_bytes()
        row = (await connection.execute(_chunk_with(key, wanted))).one_or_none()
        if row is None:
            return None
        nodes = await self._proof_nodes(connection, key)
        return next(_unpack(key, row, nodes, lambda each: each == wanted), None) if nodes is not None else None

    async def page(
        self, connection: AsyncConnection, key: Key, after: Address | None, limit: int | None
    ) -> tuple[StoredAccount, ...]:
        """Return the accounts of a report by subject: those above `after`, at most `limit`."""
        above = b"" if after is None else after.to_bytes()
        begin = (await connection.execute(_chunk_with(key, above))).one_or_none()
        first = b"" if begin is None else begin.first_subject
        query = (
            select(ACCOUNT_CHUNKS)
            .where(_of_round(key), ACCOUNT_CHUNKS.c.first_subject >= first)
            .order_by(ACCOUNT_CHUNKS.c.first_subject)
            .execution_options(yield_per=CHUNKS_PER_FETCH)
        )
        found: list[StoredAccount] = []
        async with connection.stream(query) as rows:
            async for row in rows:
                nodes = await self._proof_nodes(connection, key)
                if nodes is None:
                    return ()
                found += _unpack(key, row, nodes, lambda each: each > above)
                if limit is not None and len(found) >= limit:
                    break
        return tuple(found[:limit])

    async def _proof_nodes(self, connection: AsyncConnection, key: Key) -> ProofNodes | None:
        known = self._nodes.get(key)
        if known is None:
            query = select(PROOF_NODES.c.nodes).where(
                PROOF_NODES.c.config_digest == key[0], PROOF_NODES.c.round == key[1]
            )
            packed = (await connection.execute(query)).scalar_one_or_none()
            if packed is None:  # the round was pruned after its chunk was read
                return None
            with _whole(key):
                known = unpack_nodes(bytes(packed))
            self._nodes[key] = known
            if len(self._nodes) > ROUNDS_OF_NODES:
                self._nodes.popitem(last=False)
        return known


def _chunk_with(key: Key, subject: bytes) -> Select[Any]:
    """Select the chunk that holds a subject, if any does."""
    return (
        select(ACCOUNT_CHUNKS)
        .where(_of_round(key), ACCOUNT_CHUNKS.c.first_subject <= subject)
        .order_by(ACCOUNT_CHUNKS.c.first_subject.desc())
        .limit(1)
    )


def _of_round(key: Key) -> ColumnElement[bool]:
    return and_(ACCOUNT_CHUNKS.c.config_digest == key[0], ACCOUNT_CHUNKS.c.round == key[1])


def _row(account: StoredAccount) -> AccountRow:
    return AccountRow(
        subject=account.subject.to_bytes(),
        leaf=account.leaf,
        proof=b"".join(node.to_bytes() for node in account.proof),
        assessment=account.assessment,
        portfolio=account.portfolio,
    )


def _unpack(key: Key, row: Row[Any], nodes: ProofNodes, asked: Callable[[bytes], bool]) -> Iterator[StoredAccount]:
    """Yield the accounts of a chunk whose subject is asked for."""
    with _whole(key):
        leaves, assessments = unpack_values(row.leaves), unpack_values(row.assessments)
        portfolios, proofs = unpack_values(row.portfolios), chunk_proofs(row.proofs)
        for index, subject in enumerate(chunk_subjects(row.subjects)):
            if asked(subject):
                yield StoredAccount(
                    subject=Address("0x" + subject.hex()),
                    leaf=with_subject(leaves[index], subject) or b"",
                    proof=_hashes(proof_from(nodes, proofs[index])),
                    assessment=with_subject(assessments[index], subject) or b"",
                    portfolio=with_subject(portfolios[index], subject),
                )


def _hashes(joined: bytes) -> tuple[Hash32, ...]:
    return tuple(Hash32(joined[start : start + HASH_BYTES]) for start in range(0, len(joined), HASH_BYTES))


@contextmanager
def _whole(key: Key) -> Iterator[None]:
    try:
        yield
    except (zlib.error, struct.error, msgspec.DecodeError, ValueError, IndexError) as error:
        raise FatalError(
            f"the accounts of round {key[1]} in the database are damaged: {error}; restore its backup",
            code="store_unusable",
        ) from error
