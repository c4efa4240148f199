"""A JSON-RPC endpoint before the local chain, or before answers made here, that can do whatever endpoints do."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

Form = dict[str, Any]
Ask = Callable[[Form], Any]

GENESIS = {"number": "0x0", "hash": "0x" + "0a" * 32, "timestamp": "0x1"}


class HostileEndpoint:
    """Answers what `upstream` answers, as far as its faults let it."""

    def __init__(self, upstream: str | Ask) -> None:
        self._upstream = upstream
        self.url = ""
        self.asked: list[Form] = []
        self.posts = 0
        self.latency = 0.0
        self.lie: Callable[[Form, Form], Form] | None = None
        """Gets a request and its honest answer, returns what is said."""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.batches = True
        self.hang = False

    def methods(self) -> list[str]:
        """Return what was asked, in order."""
        return [form["method"] for form in self.asked]

    async def serve(self, request: web.Request) -> web.Response:
        forms = await request.json()
        self.posts += 1
        await asyncio.sleep(3_600 if self.hang else self.latency)
        if self.status != 200:
            return web.Response(status=self.status, headers=self.headers)
        several = isinstance(forms, list)
        if several and not self.batches:
            return web.json_response({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no batches"}})
        asked = forms if several else [forms]
        self.asked += asked
        said = [
            self.lie(form, answer) if self.lie else answer
            for form, answer in zip(asked, await self._honest(asked), strict=True)
        ]
        return web.json_response(said if several else said[0])

    async def _honest(self, forms: list[Form]) -> list[Form]:
        if not isinstance(self._upstream, str):
            return [{"jsonrpc": "2.0", "id": form["id"], **self._made(form)} for form in forms]
        async with aiohttp.ClientSession() as session, session.post(self._upstream, json=forms) as response:
            by_id = {answer["id"]: answer for answer in await response.json()}
        return [by_id[form["id"]] for form in forms]

    def _made(self, form: Form) -> Form:
        assert not isinstance(self._upstream, str)
        found = self._upstream(form)
        return found if isinstance(found, dict) and found.keys() <= {"result", "error"} else {"result": found}


@asynccontextmanager
async def hostile_endpoints(upstream: str | Ask, count: int) -> AsyncIterator[list[HostileEndpoint]]:
    """Run `count` endpoints on free loopback ports, all honest at first."""
    fleet = [HostileEndpoint(upstream) for _ in range(count)]
    async with AsyncExitStack() as stack:
        for endpoint in fleet:
            app = web.Application(client_max_size=1 << 26)
            app.router.add_post("/{path:.*}", endpoint.serve)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield fleet


def small_chain(head: int = 100) -> Ask:
    """Return the answers of a chain whose calls return what they are given, with a log in every tenth block."""

    def ask(form: Form) -> Any:
        method, parameters = form["method"], form["params"]
        match method:
            case "eth_chainId":
                return "0x1"
            case "eth_getBlockByNumber":
                number = int(parameters[0], 16) if parameters[0].startswith("0x") else head
                return block(number) if number <= head else None
            case "eth_getBlockByHash":
                return block(int(parameters[0][-16:], 16))
            case "eth_getCode":
                return "0x"
            case "eth_getBalance":
                return "0x5"
            case "eth_getLogs":
                first, last = (int(parameters[0][name], 16) for name in ("fromBlock", "toBlock"))
                return [log(number, parameters[0]) for number in range(first, last + 1) if number % 10 == 0]
        return parameters[0]["data"].ljust(66, "0")

    return ask


def block(number: int) -> dict[str, str]:
    """Return the block of a height."""
    return GENESIS if number == 0 else {"number": hex(number), "hash": f"0x{number:064x}", "timestamp": hex(number + 1)}


def log(number: int, query: Form) -> Form:
    """Return a log that fits the query."""
    topics = [accepted[0] for accepted in query["topics"] if accepted]
    place = {"blockNumber": hex(number), "blockHash": block(number)["hash"], "logIndex": "0x0"}
    return {"address": query["address"][0], "topics": topics, "data": "0x", **place}
