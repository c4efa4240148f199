"""A TCP proxy before the local chain that delays, resets, swallows or rewrites what passes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class FaultProxy:
    """Passes connections on to `upstream`, with the fault that is switched on."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._host, self._port = parts.hostname, parts.port
        self.url = ""
        self.connections = 0
        self.latency = 0.0
        self.blackhole = False
        self.resets = 0
        """Connections still to be reset before one is passed on."""
        self.answer: Callable[[bytes], bytes] | None = None
        """Instead of asking upstream: the whole HTTP answer to a request's bytes."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            if self.resets:
                self.resets -= 1
                writer.transport.abort()
                return
            if self.blackhole:
                await asyncio.sleep(3600)
            if self.answer is not None:
                await self._answer(reader, writer)
                return
            upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
            try:
                await asyncio.gather(self._pump(reader, upstream_writer), self._pump(upstream_reader, writer))
            finally:
                upstream_writer.close()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self.answer is not None
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        writer.write(self.answer(await reader.readexactly(length)))
        await writer.drain()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await asyncio.sleep(self.latency)
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def fault_proxy(upstream: str) -> AsyncIterator[FaultProxy]:
    """Run a proxy on a free loopback port."""
    proxy = FaultProxy(upstream)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    tasks_before = asyncio.all_tasks()
    try:
        yield proxy
    finally:
        server.close()
        for task in asyncio.all_tasks() - tasks_before - {asyncio.current_task()}:
            task.cancel()


def http(body: bytes, status: str = "200 OK") -> bytes:
    """Return a whole HTTP answer."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
