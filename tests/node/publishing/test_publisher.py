"""The publisher against a real chain: a contract that takes each word once, and blocks that come when we say so."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from eth_hash.auto import keccak

from adapters.chains import EndpointOptions
from attest.keys.keystore import LocalSigner
from devnet.anvil import Anvil, run_anvil
from devnet.toolchain.packages import default_cache, find_anvil
from node.publishing.outbox import PublishLimits
from node.publishing.publisher import ChainPublisher, open_publisher
from riskschema.errors import FatalError, InvalidData, TransientError
from riskschema.ports import Store
from riskschema.rounds import StoredTransaction
from riskschema.units import Address, Hash32
from storage.memory import MemoryStore
from storage.store import open_store
from tests.adapters.hostile_endpoint import Form, hostile_endpoints
from tests.node.publishing.clocks import SkippingClock, WallClock
from tests.patience import eventually

pytestmark = pytest.mark.chain

CHAIN_ID = 31337
NETWORK = Hash32("0x" + "a1" * 32)
SIGNER = LocalSigner(b"\x07" * 32)
ETHER = 10**18
GWEI = 10**9
BOOK = Address("0x" + "b0" * 20)
# SLOAD(word) != 0: revert with Refused(7); else SSTORE(word, 1)
BOOK_CODE = "0x6000358054600d5760019055005b63" + "f8b1dd52" + "60e01b6000526007600452602460" + "00fd"
LIMITS = PublishLimits(max_fee_per_gas=100 * GWEI, deadline=3_600.0, poll=3.0, replace_after=86_400.0)


def explain(data: bytes) -> str:
    return f"Refused({int.from_bytes(data[4:36], 'big')})" if data[:4].hex() == "f8b1dd52" else f"0x{data.hex()}"


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.fixture(scope="module")
def anvil() -> Iterator[Anvil]:
    with run_anvil(find_anvil(cache=default_cache(), progress=lambda line: None)) as running:
        running.rpc.request("anvil_setCode", BOOK, BOOK_CODE)
        yield running


@pytest.fixture
def chain(anvil: Anvil) -> Iterator[Anvil]:
    snapshot = anvil.snapshot()
    anvil.set_balance(SIGNER.address, 10 * ETHER)
    set_base_fee(anvil, GWEI)  # a snapshot does not hold the next block's fee
    yield anvil
    anvil.rpc.request("anvil_dropAllTransactions")
    anvil.rpc.request("evm_setAutomine", True)
    anvil.revert(snapshot)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


Opened = AbstractAsyncContextManager[ChainPublisher]


def opened(chain: Anvil, store: Store, *, urls: Sequence[str] = (), **limits: Any) -> Opened:
    return open_publisher(
        endpoints=[EndpointOptions(url=url) for url in urls or (chain.url,)],
        chain_id=CHAIN_ID,
        config_digest=NETWORK,
        signer=SIGNER,
        store=store,
        clock=SkippingClock(),
        explain=explain,
        limits=msgspec.structs.replace(LIMITS, **limits),
    )


@asynccontextmanager
async def publishing(publisher: ChainPublisher, round_number: int) -> AsyncIterator[asyncio.Task[Any]]:
    task = asyncio.create_task(publisher.publish(round_number=round_number, to=BOOK, data=word(round_number)))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def kept(store: Store) -> StoredTransaction | None:
    waiting = await store.pending_transactions(NETWORK, CHAIN_ID, SIGNER.address)
    return waiting[0] if waiting else None


def pool(chain: Anvil) -> list[str]:
    pending = chain.rpc.request("txpool_content")["pending"]
    return [each["hash"] for sender in pending.values() for each in sender.values()]


def nonce(chain: Anvil) -> int:
    return int(chain.rpc.request("eth_getTransactionCount", SIGNER.address, "latest"), 16)


def written(chain: Anvil, number: int) -> int:
    return int(chain.rpc.request("eth_getStorageAt", BOOK, hex(number), "latest"), 16)


def automine(chain: Anvil, on: bool) -> None:
    chain.rpc.request("evm_setAutomine", on)


def set_base_fee(chain: Anvil, wei: int) -> None:
    chain.rpc.request("anvil_setNextBlockBaseFeePerGas", hex(wei))
    chain.mine()
    chain.rpc.request("anvil_setNextBlockBaseFeePerGas", hex(wei))


async def test_a_call_lands_and_its_receipt_is_kept(chain: Anvil, store: MemoryStore) -> None:
    async with opened(chain, store) as publisher:
        landed = await publisher.publish(round_number=5, to=BOOK, data=word(5))
    assert written(chain, 5) == 1
    assert landed.chain_id == CHAIN_ID
    assert landed.block_number == chain.block_number()
    receipt = chain.rpc.request("eth_getTransactionReceipt", landed.hash)
    assert landed.gas_used == int(receipt["gasUsed"], 16)
    transaction = await store.round_transaction(NETWORK, CHAIN_ID, 5)
    assert transaction is not None
    assert (transaction.status, transaction.hash, transaction.nonce) == ("landed", landed.hash, 0)


async def test_a_round_that_landed_is_not_sent_again(chain: Anvil, store: MemoryStore) -> None:
    async with opened(chain, store) as publisher:
        first = await publisher.publish(round_number=5, to=BOOK, data=word(5))
        assert await publisher.publish(round_number=5, to=BOOK, data=word(5)) == first
    async with opened(chain, store) as another:
        assert await another.publish(round_number=5, to=BOOK, data=word(5)) == first
    assert nonce(chain) == 1


async def test_rounds_published_at_once_get_nonces_of_their_own(chain: Anvil, store: MemoryStore) -> None:
    async with opened(chain, store) as publisher:
        await asyncio.gather(*(publisher.publish(round_number=n, to=BOOK, data=word(n)) for n in (1, 2, 3)))
    assert nonce(chain) == 3
    assert [written(chain, number) for number in (1, 2, 3)] == [1, 1, 1]


async def test_a_refusal_is_told_in_the_words_of_the_contract_before_anything_is_sent(
    chain: Anvil, store: MemoryStore
) -> None:
    chain.rpc.request("anvil_setStorageAt", BOOK, hex(5), "0x" + word(1).hex())
    async with opened(chain, store) as publisher:
        with pytest.raises(InvalidData, match=rf"contract {BOOK} on chain {CHAIN_ID} refuses: Refused\(7\)") as refusal:
            await publisher.publish(round_number=5, to=BOOK, data=word(5))
    assert refusal.value.code == "publish_refused"
    assert nonce(chain) == 0
    assert await kept(store) is None


async def test_a_call_that_fails_on_chain_is_a_refusal_too(chain: Anvil, store: MemoryStore) -> None:
    automine(chain, False)
    async with opened(chain, store) as publisher, publishing(publisher, 5) as task:
        await eventually(lambda: kept(store))
        await eventually(lambda: asyncio.sleep(0, pool(chain)))
        chain.rpc.request("anvil_setStorageAt", BOOK, hex(5), "0x" + word(1).hex())
        chain.mine()
        with pytest.raises(InvalidData, match=r"Refused\(7\)"):
            await task
    failed = await store.round_transaction(NETWORK, CHAIN_ID, 5)
    assert failed is not None
    assert failed.status == "failed"


async def test_a_call_that_needs_too_much_gas_is_refused(chain: Anvil, store: MemoryStore) -> None:
    async with opened(chain, store, max_gas=30_000) as publisher:
        with pytest.raises(InvalidData) as refusal:
            await publisher.publish(round_number=5, to=BOOK, data=word(5))
    assert refusal.value.code == "publish_refused"
    assert nonce(chain) == 0


async def test_the_gas_limit_leaves_a_margin_and_keeps_the_bound(chain: Anvil, store: MemoryStore) -> None:
    async with opened(chain, store, max_gas=60_000) as publisher:
        landed = await publisher.publish(round_number=5, to=BOOK, data=word(5))
    gas = int(chain.rpc.request("eth_getTransactionByHash", landed.hash)["gas"], 16)
    assert landed.gas_used < gas <= 60_000


async def test_a_stuck_transaction_is_replaced_at_its_nonce(chain: Anvil, store: MemoryStore) -> None:
    automine(chain, False)
    async with opened(chain, store, replace_after=10.0) as publisher, publishing(publisher, 5) as task:
        first = await eventually(lambda: kept(store))
        set_base_fee(chain, first.max_fee_per_gas + 1)
        assert nonce(chain) == 0, "the first offer was too low"

        async def replaced() -> StoredTransaction | None:
            now = await kept(store)
            return now if now is not None and now.replaced and pool(chain) == [now.hash] else None

        second = await eventually(replaced)
        assert (second.nonce, second.replaced) == (first.nonce, (first.hash,))
        assert 8 * second.max_fee_per_gas >= 9 * first.max_fee_per_gas
        assert 8 * second.max_priority_fee_per_gas >= 9 * first.max_priority_fee_per_gas
        chain.mine()
        landed = await task
    assert landed.hash == second.hash
    assert nonce(chain) == 1
    assert written(chain, 5) == 1


async def test_a_replaced_transaction_that_lands_after_all_is_recognised(chain: Anvil, store: MemoryStore) -> None:
    automine(chain, False)
    async with opened(chain, store, replace_after=10.0) as publisher, publishing(publisher, 5) as task:
        first = await eventually(lambda: kept(store))

        async def replaced() -> bool:
            now = await kept(store)
            return now is not None and now.hash != first.hash and pool(chain) == [now.hash]

        await eventually(replaced)
        chain.rpc.request("anvil_dropAllTransactions")
        chain.rpc.request("eth_sendRawTransaction", "0x" + first.raw.hex())
        chain.mine()
        landed = await task
    assert landed.hash == first.hash
    assert nonce(chain) == 1


async def test_no_more_than_the_cap_is_ever_offered(chain: Anvil, store: MemoryStore) -> None:
    automine(chain, False)
    set_base_fee(chain, 10 * GWEI)
    cap = 25 * GWEI
    async with opened(chain, store, max_fee_per_gas=cap, replace_after=10.0, deadline=150.0) as publisher:
        with pytest.raises(TransientError) as late:
            await publisher.publish(round_number=5, to=BOOK, data=word(5))
    assert late.value.code == "publish_late"
    transaction = await kept(store)
    assert transaction is not None
    assert transaction.replaced
    assert transaction.max_fee_per_gas <= cap
    sent = chain.rpc.request("eth_getTransactionByHash", pool(chain)[0])
    assert int(sent["maxFeePerGas"], 16) <= cap


async def test_nothing_is_sent_while_the_chain_asks_more_than_the_cap(chain: Anvil, store: MemoryStore) -> None:
    set_base_fee(chain, 50 * GWEI)
    async with opened(chain, store, max_fee_per_gas=20 * GWEI, deadline=30.0) as publisher:
        with pytest.raises(TransientError, match=r"asks \d+\.\d+ gwei per gas, the cap is 20\.000"):
            await publisher.publish(round_number=5, to=BOOK, data=word(5))
    assert await kept(store) is None


async def test_a_round_that_came_too_late_is_followed_up(chain: Anvil, store: MemoryStore) -> None:
    automine(chain, False)
    async with opened(chain, store, deadline=30.0) as publisher:
        with pytest.raises(TransientError, match=r"round 5 has not landed on chain 31337 within 30 s") as late:
            await publisher.publish(round_number=5, to=BOOK, data=word(5))
        assert late.value.code == "publish_late"
        chain.mine()
        await publisher.follow_up()
        transaction = await store.round_transaction(NETWORK, CHAIN_ID, 5)
        assert transaction is not None
        assert transaction.status == "landed"


async def test_a_transaction_is_final_once_it_is_deep_enough(chain: Anvil, store: MemoryStore) -> None:
    async with opened(chain, store, final_depth=10) as publisher:
        await publisher.publish(round_number=5, to=BOOK, data=word(5))
        chain.mine(8)
        await publisher.follow_up()
        assert await kept(store) is not None
        chain.mine(1)
        await publisher.follow_up()
        assert await kept(store) is None


async def test_landing_can_ask_for_several_blocks(chain: Anvil, store: MemoryStore) -> None:
    async with opened(chain, store, confirmations=3) as publisher, publishing(publisher, 5) as task:
        await eventually(lambda: asyncio.sleep(0, nonce(chain)))
        await asyncio.sleep(0.2)
        assert not task.done()
        chain.mine(2)
        assert (await task).block_number == chain.block_number() - 2


async def test_a_transaction_reorganised_away_is_sent_again(chain: Anvil, store: MemoryStore) -> None:
    snapshot = chain.snapshot()
    async with opened(chain, store) as publisher:
        landed = await publisher.publish(round_number=5, to=BOOK, data=word(5))
        chain.revert(snapshot)
        automine(chain, False)
        assert written(chain, 5) == 0
        await publisher.follow_up()
        again = await kept(store)
        assert again is not None
        assert (again.status, again.block_number) == ("pending", None)
        chain.mine(2)
        assert (await publisher.publish(round_number=5, to=BOOK, data=word(5))).hash == landed.hash
    assert written(chain, 5) == 1


async def test_what_cannot_be_stored_is_not_sent(chain: Anvil) -> None:
    class FullDisk(MemoryStore):
        async def put_transaction(self, transaction: StoredTransaction) -> None:
            raise TransientError(f"database: no room for nonce {transaction.nonce}", code="store_failed")

    automine(chain, False)
    async with opened(chain, FullDisk(), deadline=30.0) as publisher:
        with pytest.raises(TransientError, match="no room for nonce 0"):
            await publisher.publish(round_number=5, to=BOOK, data=word(5))
    assert pool(chain) == []


async def test_a_nonce_used_elsewhere_costs_a_new_transaction_and_no_more(chain: Anvil, store: MemoryStore) -> None:
    automine(chain, False)
    async with opened(chain, store) as publisher, publishing(publisher, 5) as task:
        await eventually(lambda: asyncio.sleep(0, pool(chain)))
        chain.rpc.request("anvil_dropAllTransactions")
        chain.rpc.request("anvil_impersonateAccount", SIGNER.address)
        chain.rpc.request("eth_sendTransaction", {"from": SIGNER.address, "to": SIGNER.address, "nonce": "0x0"})
        chain.rpc.request("anvil_stopImpersonatingAccount", SIGNER.address)
        chain.mine(4)

        async def sent_anew() -> bool:
            now = await kept(store)
            return now is not None and now.nonce == 1 and pool(chain) == [now.hash]

        await eventually(sent_anew)
        chain.mine()
        await task
    assert nonce(chain) == 2
    assert written(chain, 5) == 1


async def test_an_account_without_money_is_named_and_goes_on_once_it_has_some(chain: Anvil, store: MemoryStore) -> None:
    chain.set_balance(SIGNER.address, 0)
    async with opened(chain, store, deadline=30.0) as publisher:
        with pytest.raises(TransientError, match=f"account {SIGNER.address} on chain 31337 cannot pay") as unpaid:
            await publisher.publish(round_number=5, to=BOOK, data=word(5))
        assert unpaid.value.code == "transmitter_unfunded"
        chain.set_balance(SIGNER.address, ETHER)
        await publisher.publish(round_number=5, to=BOOK, data=word(5))
    assert nonce(chain) == 1


@pytest.mark.parametrize("meanwhile", ["waits in the pool", "dropped from the pool", "landed"])
async def test_a_killed_node_resumes_without_a_second_transaction(chain: Anvil, tmp_path: Path, meanwhile: str) -> None:
    automine(chain, False)
    database = tmp_path / "node.db"
    node = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(NODE), chain.url, str(database)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        sent = await eventually(lambda: asyncio.sleep(0, pool(chain)))
    finally:
        node.kill()
        await node.wait()
    if meanwhile == "dropped from the pool":
        chain.rpc.request("anvil_dropAllTransactions")
    if meanwhile == "landed":
        chain.mine()

    async with open_store(database) as store, opened(chain, store) as publisher, publishing(publisher, 5) as task:
        if meanwhile != "landed":
            await eventually(lambda: asyncio.sleep(0, pool(chain)))
            chain.mine()
        landed = await task
    assert [landed.hash] == sent
    assert nonce(chain) == 1
    assert written(chain, 5) == 1


NODE = """
    import asyncio, sys, time
    from adapters.chains import EndpointOptions
    from attest.keys.keystore import LocalSigner
    from node.publishing.outbox import PublishLimits
    from node.publishing.publisher import open_publisher
    from riskschema.units import Address, Hash32
    from storage.store import open_store

    class WallClock:
        def now(self):
            return time.time()

        async def sleep_until(self, timestamp):
            await asyncio.sleep(max(0, timestamp - time.time()))

    async def main():
        async with open_store(sys.argv[2]) as store, open_publisher(
            endpoints=[EndpointOptions(url=sys.argv[1])], chain_id=31337, config_digest=Hash32("0x" + "a1" * 32),
            signer=LocalSigner(b"\\x07" * 32),
            store=store, clock=WallClock(), explain=bytes.hex, limits=PublishLimits(max_fee_per_gas=10**11),
        ) as publisher:
            await publisher.publish(round_number=5, to=Address("0x" + "b0" * 20), data=(5).to_bytes(32, "big"))

    asyncio.run(main())
"""


async def test_a_fresh_chain_does_not_trip_over_the_transactions_of_an_old_one(
    chain: Anvil, store: MemoryStore
) -> None:
    async with opened(chain, store) as publisher:
        await publisher.publish(round_number=5, to=BOOK, data=word(5))
        old = await kept(store)
    assert old is not None
    await store.put_transaction(msgspec.structs.replace(old, config_digest=Hash32("0x" + "c3" * 32), nonce=40))
    async with opened(chain, store) as publisher:
        await publisher.publish(round_number=6, to=BOOK, data=word(6))
    assert nonce(chain) == 2


async def test_another_chain_is_refused(chain: Anvil, store: MemoryStore) -> None:
    wrong = open_publisher(
        endpoints=[EndpointOptions(url=chain.url)],
        chain_id=1,
        config_digest=NETWORK,
        signer=SIGNER,
        store=store,
        clock=WallClock(),
        explain=explain,
        limits=LIMITS,
    )
    with pytest.raises(FatalError, match="serves chain 31337, not 1"):
        async with wrong:
            pass


async def test_an_endpoint_that_goes_away_is_named_without_its_key(chain: Anvil, store: MemoryStore) -> None:
    async with line_to(chain) as (address, cut):
        publisher_of = open_publisher(
            endpoints=[EndpointOptions(url=f"{address}/?key=0123456789secretkey")],
            chain_id=CHAIN_ID,
            config_digest=NETWORK,
            signer=SIGNER,
            store=store,
            clock=WallClock(),
            explain=explain,
            limits=msgspec.structs.replace(LIMITS, deadline=0.5, poll=0.03),
        )
        async with publisher_of as publisher:
            await publisher.follow_up()
            cut()
            with pytest.raises(TransientError) as late:
                await publisher.publish(round_number=5, to=BOOK, data=word(5))
    # which of the two comes first depends on the client's pauses between its attempts
    assert re.search(f"{re.escape(address)}: (no answer in time|cannot be reached)", late.value.message)
    assert "secretkey" not in late.value.message


SEND = "eth_sendRawTransaction"


def takes_but_denies(form: Form, answer: Form) -> Form:
    """Hand in the transaction, and answer as if something had broken."""
    broken = {"jsonrpc": "2.0", "id": form["id"], "error": {"code": -32603, "message": "internal error"}}
    return broken if form["method"] == SEND else answer


@pytest.mark.parametrize("fault", ["down", "limited", "takes it and denies it"])
async def test_another_endpoint_takes_the_same_bytes_where_the_first_fails(
    chain: Anvil, store: MemoryStore, fault: str
) -> None:
    async with hostile_endpoints(chain.url, 2) as fleet:
        async with opened(chain, store, urls=[each.url for each in fleet]) as publisher:
            if fault == "takes it and denies it":
                fleet[0].lie = takes_but_denies
            else:
                fleet[0].status = {"down": 503, "limited": 429}[fault]
            published = await publisher.publish(round_number=5, to=BOOK, data=word(5))
        sent = [form["params"][0] for each in fleet for form in each.asked if form["method"] == SEND]
    assert len(set(sent)) == 1
    assert published.hash == keccak_hex(sent[0])
    assert SEND in fleet[1].methods()
    assert nonce(chain) == 1
    assert written(chain, 5) == 1


def keccak_hex(raw: str) -> str:
    return "0x" + keccak(bytes.fromhex(raw[2:])).hex()


@asynccontextmanager
async def line_to(chain: Anvil) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """Yield the address of a line to the chain, and how to cut it."""
    port = int(chain.url.rsplit(":", 1)[1])
    ends: list[asyncio.StreamWriter] = []

    async def forward(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                target.write(data)
        target.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection("127.0.0.1", port)
        ends.extend((writer, downstream))
        await asyncio.gather(forward(reader, downstream), forward(upstream, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)

    def cut() -> None:
        server.close()
        for end in ends:
            end.transport.abort()

    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield address, cut
    finally:
        cut()
        await asyncio.sleep(0.01)  # the connections end in tasks of their own
