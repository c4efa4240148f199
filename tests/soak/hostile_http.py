"""Clients that mean no good: they are slow, silent, loud, greedy or broken, and there are many of them.

    python -m tests.soak.hostile_http HOST PORT ATTACK CLIENTS

attacks from a process of its own until its standard input ends, and then prints how often it did.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

REQUEST = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(5_000)) + b"\r\n",
    b"POST /readyz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nffffffff\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n" + bytes(10_000),
    b"\r\n" * 5_000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /v1/accounts/%00%ff%c0%ae/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + bytes(5_000),
)

SUBJECTS = 10_000
"""Accounts that are asked for have the numbers below."""

Attack = Callable[["Crowd", random.Random], Awaitable[None]]


class Crowd:
    """Many clients of one server, each doing the same again and again until the crowd goes home."""

    def __init__(self, host: str, port: int, *, seed: int) -> None:
        self._host = host
        self._port = port
        self._seed = seed
        self._clients: list[asyncio.Task[None]] = []
        self._gone = False
        self.done: Counter[str] = Counter()
        """How often each attack was tried to its end."""

    def send(self, attack: Attack, clients: int) -> None:
        """Let so many more clients attack."""
        for _ in range(clients):
            chance = random.Random(f"{self._seed}/{len(self._clients)}")
            self._clients.append(asyncio.create_task(self._again_and_again(attack, chance)))

    async def go_home(self) -> None:
        """End all attacks."""
        self._gone = True
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._clients.clear()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection that reads little."""
        async with asyncio.timeout(30):
            return await asyncio.open_connection(self._host, self._port, limit=4_096)

    async def _again_and_again(self, attack: Attack, chance: random.Random) -> None:
        while not self._gone:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await attack(self, chance)
            self.done[attack.__name__] += 1
            await asyncio.sleep(chance.random() / 10)


async def drip(crowd: Crowd, chance: random.Random) -> None:
    """Send a request byte by byte and never end it (slowloris)."""
    reader, writer = await crowd.connect()
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n")
        while not reader.at_eof():
            writer.write(b"X-%d: 1\r\n" % chance.randrange(10**6))
            await writer.drain()
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await reader.read(1_000)
    finally:
        writer.close()


async def drip_after_a_good_start(crowd: Crowd, chance: random.Random) -> None:
    """Ask once as one should, then drip."""
    reader, writer = await crowd.connect()
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"ok")
        for byte in b"GET /readyz HTTP/1.1" + b"\r\nX: " + b"a" * 60:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(chance.uniform(0.5, 1.5))
    finally:
        writer.close()


async def say_nothing(crowd: Crowd, _chance: random.Random) -> None:
    """Connect and wait."""
    reader, writer = await crowd.connect()
    try:
        async with asyncio.timeout(60):
            await reader.read()
    finally:
        writer.close()


async def never_read(crowd: Crowd, _chance: random.Random) -> None:
    """Ask for as much as can be, and take none of it."""
    reader, writer = await crowd.connect()
    try:
        for _ in range(60):
            if reader.at_eof():
                return
            writer.write(REQUEST * 50)
            await asyncio.sleep(1.0)
    finally:
        writer.transport.abort()


async def babble(crowd: Crowd, chance: random.Random) -> None:
    """Send what is no HTTP, or HTTP that no client sends."""
    reader, writer = await crowd.connect()
    try:
        writer.write(chance.choice([*GARBAGE, chance.randbytes(chance.randrange(1, 20_000))]))
        async with asyncio.timeout(5):
            await reader.read()
    finally:
        writer.close()


async def knock_and_run(crowd: Crowd, chance: random.Random) -> None:
    """Connect and reset, as fast as can be."""
    for _ in range(20):
        _, writer = await crowd.connect()
        if chance.random() < 0.5:
            writer.write(REQUEST[: chance.randrange(len(REQUEST))])
        writer.transport.abort()


async def ask_for_metrics(crowd: Crowd, _chance: random.Random) -> None:
    """Ask for the series without a pause."""
    await _ask_on(crowd, lambda: "/metrics")


async def ask_for_one_account(crowd: Crowd, _chance: random.Random) -> None:
    """Ask for the same account without a pause."""
    await _ask_on(crowd, lambda: f"/v1/accounts/0x{1:040x}")


async def ask_for_many_accounts(crowd: Crowd, chance: random.Random) -> None:
    """Ask for another account each time, and for pages of accounts: no answer is kept."""
    await _ask_on(
        crowd,
        lambda: "/v1/accounts" if chance.random() < 0.2 else f"/v1/accounts/0x{chance.randrange(SUBJECTS):040x}",
    )


async def ask_for_one_round(crowd: Crowd, _chance: random.Random) -> None:
    """Ask for the latest round without a pause."""
    await _ask_on(crowd, lambda: "/v1/rounds/latest")


async def send_a_huge_body(crowd: Crowd, _chance: random.Random) -> None:
    """Announce a hundred gigabytes, and send them as long as they are taken."""
    reader, writer = await crowd.connect()
    try:
        writer.write(b"POST /v1/rounds/latest HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        while not reader.at_eof():
            writer.write(bytes(65_536))
            await writer.drain()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    await reader.read(1_000)
    finally:
        writer.transport.abort()


async def _ask_on(crowd: Crowd, path: Callable[[], str]) -> None:
    reader, writer = await crowd.connect()
    try:
        for _ in range(1_000):
            writer.write(f"GET {path()} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            crowd.done["answers"] += 1
    finally:
        writer.close()


async def hammer(crowd: Crowd, chance: random.Random) -> None:
    """Ask right questions without a pause."""
    reader, writer = await crowd.connect()
    paths = ("/metrics", "/readyz", "/v1/rounds/latest", f"/v1/accounts/0x{chance.randrange(2**160):040x}")
    try:
        for _ in range(100):
            writer.write(f"GET {chance.choice(paths)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
    finally:
        writer.close()


async def attack_until_told(host: str, port: int, attack: Attack, clients: int) -> Counter[str]:
    """Attack until standard input ends."""
    crowd = Crowd(host, port, seed=22)
    crowd.send(attack, clients)
    await asyncio.to_thread(sys.stdin.read)
    await crowd.go_home()
    return crowd.done


if __name__ == "__main__":
    host, port, name, clients = sys.argv[1:]
    print(json.dumps(asyncio.run(attack_until_told(host, int(port), globals()[name], int(clients)))))
