"""What the endpoints of the settings were found to take, kept in a file over restarts.

The file names an endpoint by a digest of its address with a key of the file's own: addresses hold secrets. It can be
deleted: limits are learned again, and the calls of the day count from nought.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Annotated

import msgspec
import structlog
from msgspec import Meta

from adapters.chains import Chain, Learned
from riskschema.codec import decode_json, encode_json
from riskschema.errors import InvalidData

FILE = "endpoints.json"
"""In the data directory."""
MOST = 256
"""Endpoints that are remembered, the newest."""
MAX_BYTES = 1 << 17
FORGOTTEN_AFTER_SECONDS = 7 * 86_400.0
"""A start that is so long after an endpoint was met learns its limits anew: providers change them, and a plan may have
been bought."""
SAVING_SECONDS = 60.0

_log = structlog.get_logger("node.endpoints")


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One endpoint."""

    endpoint: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    learned: Learned
    found: int
    """Unix seconds when its limits began to be learned."""


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    key: Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
    endpoints: Annotated[tuple[Entry, ...], Meta(max_length=MOST)] = ()


class RememberedEndpoints:
    """Recalls what was found of endpoints, and keeps what the opened chains find meanwhile.

    Args:
        path: Of the file; made when something is kept.
        clock: Unix seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._watched: list[tuple[Chain, tuple[str, ...]]] = []
        document = self._read() or Document(key=secrets.token_hex(16))
        self._key = document.key
        self._entries = {each.endpoint: each for each in document.endpoints}

    def recall(self, chain_id: int, url: str) -> Learned | None:
        """Return what was found of an endpoint; None: nothing is known."""
        entry = self._entries.get(self._name(chain_id, url))
        if entry is None:
            return None
        if 0 <= self._clock() - entry.found < FORGOTTEN_AFTER_SECONDS:
            return entry.learned
        forgotten = Learned(day_began=entry.learned.day_began, calls=entry.learned.calls)
        self._entries[entry.endpoint] = Entry(endpoint=entry.endpoint, learned=forgotten, found=int(self._clock()))
        return forgotten

    def watch(self, chain: Chain, urls: Sequence[str]) -> None:
        """Keep from now on what an opened chain finds of its endpoints, whose addresses are given in their order."""
        self._watched.append((chain, tuple(urls)))

    @asynccontextmanager
    async def saving(self) -> AsyncIterator[None]:
        """Save once a minute, and in the end."""
        saver = asyncio.create_task(self._save_again_and_again())
        try:
            yield
        finally:
            saver.cancel()
            with suppress(asyncio.CancelledError):
                await saver
            self.save()

    def save(self) -> None:
        """Write what is known; where that fails the log says so, and reading goes on."""
        for chain, urls in self._watched:
            for url, learned in zip(urls, chain.learned(), strict=True):
                self._keep(self._name(chain.chain_id, url), learned)
        newest = sorted(self._entries.values(), key=lambda each: each.learned.day_began, reverse=True)[:MOST]
        document = Document(key=self._key, endpoints=tuple(sorted(newest, key=lambda each: each.endpoint)))
        written = self._path.with_suffix(f".{os.getpid()}.new")  # a backfill may run beside the node
        try:
            file = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(file, "wb") as out:
                out.write(encode_json(document))
            written.replace(self._path)
        except OSError as error:
            _log.warning("endpoints not remembered", detail=f"{self._path}: {error.strerror}")

    async def _save_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(SAVING_SECONDS)
            self.save()

    def _keep(self, name: str, learned: Learned) -> None:
        before = self._entries.get(name)
        found = int(self._clock()) if before is None else before.found  # some limits change every minute, some never
        self._entries[name] = Entry(endpoint=name, learned=learned, found=found)

    def _name(self, chain_id: int, url: str) -> str:
        return blake2b(f"{chain_id} {url}".encode(), key=bytes.fromhex(self._key), digest_size=16).hexdigest()

    def _read(self) -> Document | None:
        try:
            with self._path.open("rb") as file:
                return decode_json(file.read(MAX_BYTES), Document, what=str(self._path))
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("endpoints not remembered", detail=f"{self._path}: {error.strerror}")
        except InvalidData as error:
            _log.warning("endpoints not remembered", detail=error.message)
        return None
