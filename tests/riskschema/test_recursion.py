"""Deeply nested input is refused in every process that has loaded the libraries that raise the recursion limit.

The tests run in processes of their own: what they are about would kill this one.
"""

import subprocess
import sys
from pathlib import Path

import pytest

LIBRARIES = """
import sys
from pathlib import Path
import adapters.chains.transport
from attest.keys.keystore import create_keystore
create_keystore(Path(sys.argv[1]) / "key.json", lambda: "password", scrypt_cost=2)
assert "py_ecc" in sys.modules, "nothing raises the limit any more: drop riskschema.recursion"
"""

DECODE = """
from riskschema.codec import decode_json
from riskschema.errors import InvalidData
from riskschema.portfolio import Portfolio
for document in (b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"silos":' * 100_000):
    for kind in (Portfolio, object):
        try:
            decode_json(document, kind, what="hostile")
        except InvalidData as error:
            print(error.code)
"""

CHAIN = """
import asyncio
from aiohttp import ClientSession, web
from adapters.chains.provider import BoundedProvider
from adapters.chains.transport import Transport
from riskschema.errors import TransientError

async def main():
    body = b'[{"jsonrpc":"2.0","id":0,"result":' + b"[" * 100_000 + b"]" * 100_000 + b"}]"
    app = web.Application()
    app.router.add_post("/", lambda request: asyncio.sleep(0, web.Response(body=body)))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with ClientSession() as session:
        provider = BoundedProvider(url, session, max_answer_bytes=10**6)
        try:
            await Transport(provider, batch_size=10, concurrency=1, attempts=1).one("eth_blockNumber")
        except TransientError as error:
            print(error.code)
    await runner.cleanup()

asyncio.run(main())
"""


def run(script: str, directory: Path) -> list[str]:
    directory.chmod(0o700)
    ended = subprocess.run(
        [sys.executable, "-c", LIBRARIES + script, str(directory)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_a_document_of_nested_brackets_is_refused_by_name(tmp_path: Path) -> None:
    assert run(DECODE, tmp_path) == ["invalid_document"] * 6


def test_an_endpoint_that_answers_nested_brackets_is_a_failing_endpoint(tmp_path: Path) -> None:
    assert run(CHAIN, tmp_path) == ["endpoint_malformed"]


@pytest.mark.parametrize(
    "library", ["adapters.chains.transport", "node.composition", "node.publishing.publisher", "contracts.calls"]
)
def test_importing_a_module_leaves_the_recursion_limit_alone(library: str) -> None:
    script = f"import sys; before = sys.getrecursionlimit(); import {library}; print(sys.getrecursionlimit() - before)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "0"
