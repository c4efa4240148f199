"""An endpoint of a chain as long as a mainnet's, computed as it is asked: one NFT contract with millions of logs.

Every `spacing`-th block mints an NFT, to one account after the other, so that whoever knows the height knows what
everybody has. Run as a program it serves until it is killed (``python -m tests.builders.fake_mainnet --port 8545``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from eth_hash.auto import keccak

CHAIN_ID = 7
NFTS = "0x" + "c3" * 20
TRANSFER = "0x" + keccak(b"Transfer(address,address,uint256)").hex()
TOTAL, BALANCE, FACTORY = (keccak(each)[:4].hex() for each in (b"totalSupply()", b"balanceOf(address)", b"factory()"))
FIRST_ACCOUNT = 1 << 24
FORK_SHIFT = 7
"""On another branch each NFT goes to an account so many further on."""


@dataclass
class FakeMainnet:
    """The chain and how its endpoint limits what is asked."""

    blocks: int = 9_000_000
    logs: int = 2_000_000
    accounts: int = 200_000
    range_limit: int = 10**9
    log_limit: int = 10**9
    latency: float = 0.0
    """Seconds before each answer."""
    lying: bool = False
    """It leaves out logs and doubles what accounts have."""
    fork: int = 10**18
    """From this block on it is another branch."""
    requests: dict[str, int] = field(default_factory=dict)
    """By method, of single requests."""

    @property
    def spacing(self) -> int:
        """Blocks from one log to the next."""
        return self.blocks // self.logs

    def hash(self, number: int) -> str:
        """Return a hash that tells its block and branch."""
        return f"0x{'f' if number >= self.fork else 'a'}{number:063x}"

    def block(self, number: int) -> dict[str, Any] | None:
        """Return a block object."""
        if not 0 <= number <= self.blocks:
            return None
        return {"number": hex(number), "hash": self.hash(number), "timestamp": hex(1_600_000_000 + 12 * number)}

    def minted(self, number: int) -> int:
        """Return how many NFTs there are after a block: one in each block that `spacing` divides, from the first on."""
        return number // self.spacing

    def owner(self, nft: int) -> int:
        """Return who got the NFT of a number from 1 on."""
        return (nft + FORK_SHIFT * (nft * self.spacing >= self.fork)) % self.accounts

    def held(self, account: int, number: int) -> int:
        """Return how many NFTs an account has after a block."""
        before = min(self.minted(number), self.minted(self.fork - 1))
        return (
            self._of(account, before)
            + self._of(account - FORK_SHIFT, self.minted(number))
            - self._of(account - FORK_SHIFT, before)
        )

    def _of(self, account: int, last: int) -> int:
        """Return how many numbers from 1 to `last` leave the remainder that an account stands for."""
        account %= self.accounts
        return (last - account) // self.accounts + (account > 0) if last >= account else 0

    def logs_between(self, first: int, last: int) -> bytes | None:
        """Return the JSON of the logs of a range; None where it is beyond the limits."""
        if last - first >= self.range_limit or self.minted(last) - self.minted(first - 1) > self.log_limit:
            return None
        parts = []
        for nft in range(self.minted(first - 1) + 1, self.minted(last) + 1):
            if self.lying and nft % 7 == 0:
                continue
            number = nft * self.spacing
            parts.append(
                f'{{"address":"{NFTS}","topics":["{TRANSFER}","0x{"0" * 64}",'
                f'"0x{FIRST_ACCOUNT + self.owner(nft):064x}","0x{nft:064x}"],'
                f'"data":"0x","blockNumber":"0x{number:x}","blockHash":"{self.hash(number)}","logIndex":"0x0",'
                f'"transactionHash":"0x{nft:064x}","transactionIndex":"0x0","removed":false}}'
            )
        return f"[{','.join(parts)}]".encode()

    def answer(self, form: dict[str, Any]) -> bytes:
        """Return the JSON of one answer."""
        method, parameters = form["method"], form.get("params", [])
        self.requests[method] = self.requests.get(method, 0) + 1
        if method == "eth_getLogs":
            asked = parameters[0]
            found = self.logs_between(int(asked["fromBlock"], 16), int(asked["toBlock"], 16))
            if found is None:
                return _error(form, "query returned more than 10000 results")
            return b'{"jsonrpc":"2.0","id":%s,"result":%s}' % (json.dumps(form["id"]).encode(), found)
        return json.dumps({"jsonrpc": "2.0", "id": form["id"], "result": self._result(method, parameters)}).encode()

    def _result(self, method: str, parameters: list[Any]) -> Any:
        match method:
            case "eth_chainId":
                return hex(CHAIN_ID)
            case "eth_getBlockByNumber":
                tag = parameters[0]
                return self.block(int(tag, 16) if tag.startswith("0x") else self.blocks)
            case "eth_getBlockByHash":
                number = int(parameters[0][3:], 16)
                return self.block(number) if self.hash(number) == parameters[0] else None
            case "eth_getCode":
                return "0x01" if parameters[0].lower() == NFTS else "0x"
            case "eth_call":
                if "to" not in parameters[0]:  # what remains of the gas that a call asks for
                    return f"0x{int(parameters[0]['gas'], 16) - 2:064x}"
                return self._call(parameters[0]["data"], parameters[1])
        raise AssertionError(method)

    def _call(self, data: str, at: Any) -> str:
        number = int(at["blockHash"][3:], 16) if isinstance(at, dict) and "blockHash" in at else self.blocks
        if data[2:10] == TOTAL:
            return f"0x{self.minted(number):064x}"
        if data[2:10] == BALANCE:
            held = self.held(int(data[10:], 16) - FIRST_ACCOUNT, number)
            return f"0x{held * (1 + self.lying):064x}"
        return "0x" + "0" * 64

    async def serve(self, request: web.Request) -> web.Response:
        """Answer a batch or a single request; ``GET`` tells and forgets how much was asked."""
        if request.method == "GET":
            told, self.requests = self.requests, {}
            return web.json_response(told)
        forms = json.loads(await request.read())
        await asyncio.sleep(self.latency)
        body = self.answer(forms) if isinstance(forms, dict) else b"[%s]" % b",".join(map(self.answer, forms))
        return web.Response(body=body, content_type="application/json")

    def application(self) -> web.Application:
        """Return the server."""
        application = web.Application(client_max_size=1 << 26)
        application.router.add_route("*", "/", self.serve)
        return application


def _error(form: dict[str, Any], message: str) -> bytes:
    error = {"code": -32005, "message": message}
    return json.dumps({"jsonrpc": "2.0", "id": form["id"], "error": error}).encode()


def main() -> None:
    """Serve a chain on the port given."""
    arguments = argparse.ArgumentParser()
    for name in ("port", "blocks", "logs", "accounts", "range-limit", "log-limit"):
        arguments.add_argument(f"--{name}", type=int)
    options = {name: value for name, value in vars(arguments.parse_args()).items() if value is not None}
    port = options.pop("port")
    web.run_app(FakeMainnet(**options).application(), host="127.0.0.1", port=port, print=None)


if __name__ == "__main__":
    main()
