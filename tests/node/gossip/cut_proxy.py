"""A TCP proxy before a broker whose connections a test can cut, or let hang."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class CutProxy:
    """Passes connections on to `upstream`."""

    def __init__(self, upstream: str) -> None:
        self._parts = urlsplit(upstream)
        self._open: set[asyncio.StreamWriter] = set()
        self.url = ""
        self.hangs = asyncio.Event()
        """Set: what comes is read and goes nowhere."""
        self.refuses = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        upstream_reader, upstream_writer = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        self._open |= {writer, upstream_writer}
        await asyncio.gather(
            self._pump(reader, upstream_writer), self._pump(upstream_reader, writer), return_exceptions=True
        )

    def cut(self) -> None:
        """End all connections without a goodbye."""
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if not self.hangs.is_set():
                writer.write(data)
                await writer.drain()
        writer.close()

    def start(self, port: int) -> None:
        self.url = f"{self._parts.scheme}://127.0.0.1:{port}"


@asynccontextmanager
async def cut_proxy(upstream: str) -> AsyncIterator[CutProxy]:
    proxy = CutProxy(upstream)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.start(server.sockets[0].getsockname()[1])
    async with server:
        try:
            yield proxy
        finally:
            proxy.cut()
