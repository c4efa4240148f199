"""What every `PinnedReader` must do: the real one, one that records, and one that replays."""

from collections.abc import Awaitable, Callable, Sequence

import pytest

from adapters.abi import Function, event_topic
from adapters.recording import RecordingReader, ReplayReader
from devnet.local_chain import Devnet
from riskschema.ports import Call, CallReverted, CallSuccess, PinnedReader
from riskschema.units import Address, Hash32

pytestmark = pytest.mark.chain

NOWHERE = Address("0x" + "77" * 20)
BALANCE = Function("balanceOf(address)", "(uint256)")
TRANSFER_FROM = Function("transferFrom(address,address,uint256)", "(bool)")
TRANSFER = event_topic("Transfer(address,address,uint256)")

Make = Callable[[], Awaitable[PinnedReader]]


class PinnedReaderContract:
    """Subclasses give a fixture `make` of readers that know the questions below."""

    @pytest.fixture
    def token(self, chain: Devnet) -> Address:
        return Address(chain.deployment.asset("USDC").token)

    @pytest.fixture
    def calls(self, token: Address, everyone: Sequence[Address]) -> list[Call]:
        balances = [BALANCE.call(token, account) for account in everyone]
        return [*balances, TRANSFER_FROM.call(token, NOWHERE, NOWHERE, 1), Call(NOWHERE, b"")]

    async def test_answers_are_in_order_and_failures_are_values(self, make: Make, calls: list[Call], chain, everyone):
        *balances, refused, nothing = await (await make()).call(calls)

        token = chain.deployment.asset("USDC").token
        assert balances == [
            CallSuccess(chain.call("MintableToken", token, "balanceOf", account)[0].to_bytes(32, "big"))
            for account in everyone
        ]
        assert isinstance(refused, CallReverted)
        assert nothing == CallSuccess(b"")

    async def test_a_repeated_question_has_the_same_answer(self, make: Make, calls: list[Call]):
        reader = await make()
        once = await reader.call(calls)

        assert await reader.call([*calls, *calls]) == (*once, *once)
        assert await reader.call(calls[::-1]) == once[::-1]

    async def test_no_question_has_no_answer(self, make: Make):
        reader = await make()
        assert await reader.call([]) == ()
        assert await reader.native_balances([]) == ()

    async def test_coin_balances_are_in_order(self, make: Make, everyone):
        reader = await make()
        forwards = await reader.native_balances(everyone)

        assert await reader.native_balances(everyone[::-1]) == forwards[::-1]
        assert all(balance > 0 for balance in forwards)

    async def test_logs_are_filtered_and_oldest_first(self, make: Make, token: Address):
        reader = await make()
        logs = await reader.logs(addresses=[token], topics=[[TRANSFER]], from_block=1)

        assert len(logs) > 20
        assert {log.address for log in logs} == {token}
        assert {log.topics[0] for log in logs} == {TRANSFER}
        assert [log.block_number for log in logs] == sorted(log.block_number for log in logs)
        assert logs[-1].block_number <= reader.block.number
        assert await reader.logs(addresses=[token], topics=[[Hash32(b"\1" * 32)]], from_block=1) == ()

    async def record_everything(
        self, reader: PinnedReader, token: Address, calls: list[Call], accounts
    ) -> ReplayReader:
        recorder = RecordingReader(reader)
        await recorder.call(calls)
        await recorder.native_balances(accounts)
        for topic in (TRANSFER, Hash32(b"\1" * 32)):
            await recorder.logs(addresses=[token], topics=[[topic]], from_block=1)
        return ReplayReader(recorder.recording(protocol="test", deployment={}, accounts=accounts))


class TestPinnedChain(PinnedReaderContract):
    @pytest.fixture
    def make(self, pin) -> Make:
        return pin


class TestRecordingReader(PinnedReaderContract):
    @pytest.fixture
    def make(self, pin) -> Make:
        async def recording() -> PinnedReader:
            return RecordingReader(await pin())

        return recording


class TestReplayReader(PinnedReaderContract):
    @pytest.fixture
    def make(self, pin, token, calls, everyone) -> Make:
        async def replay() -> PinnedReader:
            return await self.record_everything(await pin(), token, calls, everyone)

        return replay
