"""A way to an endpoint that takes time: a relay on loopback, a process of its own.

    python -m bench.distance PORT MILLISECONDS

Prints the port that it listens on. Half of the time is spent each way, and nobody waits for anybody else's bytes.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 1 << 20


@contextmanager
def away(port: int, milliseconds: int) -> Iterator[str]:
    """Yield an address from which a port of this machine is so far away."""
    command = [sys.executable, "-m", "bench.distance", str(port), str(milliseconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as relay:
        try:
            assert relay.stdout is not None
            yield f"http://127.0.0.1:{int(relay.stdout.readline())}"
        finally:
            relay.kill()


async def relay(port: int, delay: float) -> None:
    """Listen until killed."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(2 * delay)  # the handshake
        await asyncio.gather(_forward(reader, ours, delay), _forward(theirs, writer, delay))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=CHUNK)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    loop, under_way = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

    async def arrive() -> None:
        while True:
            due, part = await under_way.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not part:
                writer.close()
                return
            writer.write(part)
            await writer.drain()

    arriving = asyncio.create_task(arrive())
    with suppress(ConnectionError):
        while part := await reader.read(CHUNK):
            under_way.put_nowait((loop.time() + delay, part))
        under_way.put_nowait((loop.time() + delay, b""))
        await arriving
    arriving.cancel()
    writer.close()


if __name__ == "__main__":
    asyncio.run(relay(int(sys.argv[1]), int(sys.argv[2]) / 2_000))
