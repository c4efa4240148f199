"""What every protocol adapter must do, run over all that are discovered: a new file is tested by adding its table."""

import random
from collections.abc import Sequence
from typing import Any

import pytest

from adapters.protocols import discover_protocols, load_protocol, protocol_names
from adapters.recording import RecordingReader, ReplayReader, load_recording, record
from devnet.local_chain import Devnet
from devnet.prices import crash
from riskschema.codec import decode_json, encode_json, from_builtins
from riskschema.errors import InvalidData, TransientError
from riskschema.instruments import chain_of, protocol_of
from riskschema.portfolio import BlockReference, NoLiquidation, Portfolio, Silo, WeightedCollateral
from riskschema.ports import Call, CallResult, CallReverted, CallSuccess, Log, PinnedReader, ProtocolAdapter
from riskschema.reasons import REASONS
from riskschema.units import ZERO_ADDRESS, Address, Hash32

pytestmark = pytest.mark.chain

NOBODY = Address("0x" + "77" * 20)
ASSETS = {ZERO_ADDRESS: "ETH"}


def test_every_protocol_keeps_the_interface():
    for name, module in discover_protocols().items():
        assert name == module.PROTOCOL
        assert callable(module.adapter)
        assert module.Deployment.__struct_config__.frozen
        assert module.Deployment.__struct_config__.forbid_unknown_fields


def test_an_unknown_protocol_is_refused_with_the_known_ones():
    with pytest.raises(InvalidData, match="aave_v3, morpho_blue, uniswap_v3, wallet"):
        load_protocol("../node")


def test_every_protocol_has_a_deployment_here(tables):
    assert set(tables) == set(discover_protocols())


class Failing:
    """A reader whose endpoint is gone."""

    def __init__(self, block: BlockReference) -> None:
        self.block = block

    async def call(self, calls: Sequence[Call]) -> tuple[CallResult, ...]:
        raise TransientError("gone", code="endpoint_unreachable")

    async def native_balances(self, accounts: Sequence[Address]) -> tuple[int, ...]:
        raise TransientError("gone", code="endpoint_unreachable")

    async def logs(self, **query: Any) -> tuple[Log, ...]:
        raise TransientError("gone", code="endpoint_unreachable")


class Twisted:
    """A reader of hostile contracts: a share of the true answers is replaced."""

    def __init__(self, reader: PinnedReader, seed: int, share: float, *, only_refuse: bool = False) -> None:
        self._reader = reader
        self._random = random.Random(seed)
        self._share = share
        self._only_refuse = only_refuse

    @property
    def block(self) -> BlockReference:
        return self._reader.block

    async def call(self, calls: Sequence[Call]) -> tuple[CallResult, ...]:
        # a hostile answer can lead to a call that was not recorded
        return tuple([self._twist(await self._true(call)) for call in calls])

    async def native_balances(self, accounts: Sequence[Address]) -> tuple[int, ...]:
        return await self._reader.native_balances(accounts)

    async def logs(
        self, *, addresses: Sequence[Address], topics: Sequence[Sequence[Hash32]], from_block: int
    ) -> tuple[Log, ...]:
        return await self._reader.logs(addresses=addresses, topics=topics, from_block=from_block)

    async def _true(self, call: Call) -> CallResult:
        try:
            return (await self._reader.call([call]))[0]
        except InvalidData:
            return CallReverted(b"", "")

    def _twist(self, answer: CallResult) -> CallResult:
        if self._random.random() >= self._share:
            return answer
        if self._only_refuse:
            return self._random.choice((CallReverted(b"", ""), CallSuccess(b"")))
        size = len(answer.data)
        twisted: list[CallResult] = [
            CallReverted(b"", ""),
            CallReverted(bytes.fromhex("08c379a0") + self._random.randbytes(70), ""),
            CallSuccess(b""),
            CallSuccess(bytes(size)),
            CallSuccess(b"\xff" * size),
            CallSuccess(answer.data[: size // 2]),
            CallSuccess(answer.data * 3),
            CallSuccess(self._random.randbytes(size)),
            CallSuccess(self._random.randrange(2**64).to_bytes(32, "big") * max(1, size // 32)),
            CallSuccess(bytes(300_000)),
        ]
        return self._random.choice(twisted)


@pytest.mark.parametrize("protocol", protocol_names())
class TestEveryAdapter:
    @pytest.fixture
    def adapter(self, protocol: str, chain: Devnet, tables: dict[str, dict[str, Any]]) -> ProtocolAdapter:
        return self.make(protocol, chain, tables)

    def make(self, protocol: str, chain: Devnet, tables: dict[str, dict[str, Any]]) -> ProtocolAdapter:
        module = discover_protocols()[protocol]
        deployment = from_builtins(tables[protocol], module.Deployment, what=protocol)
        return module.adapter(deployment, chain_id=chain.deployment.chain_id, assets=ASSETS)

    async def test_a_reading_is_well_formed(self, protocol, chain, adapter, pin, everyone):
        reading = await adapter.read(await pin(), [*everyone, NOBODY])

        assert adapter.venue == reading.venue
        assert (protocol_of(adapter.venue), chain_of(adapter.venue)) == (protocol, chain.deployment.chain_id)
        assert reading.unread == ()
        assert len({silo.id for silo in reading.silos}) == len(reading.silos) >= 5
        for silo in reading.silos:
            assert silo.id.startswith(":".join(filter(None, (silo.venue, silo.market, silo.account))))
            assert silo.venue == adapter.venue
            assert silo.account in everyone
            assert silo.positions
            assert all(position.quantity for position in silo.positions)
            owes = any(position.quantity < 0 for position in silo.positions)
            assert (silo.health is not None) == owes
            if isinstance(silo.rule, WeightedCollateral):
                assert len(silo.rule.terms) == len(silo.positions)
                assert all(term.price > 0 for term in silo.rule.terms)
            else:
                assert isinstance(silo.rule, NoLiquidation)
                assert not owes

    async def test_a_reading_survives_the_published_json(self, protocol, adapter, pin, everyone):
        reading = await adapter.read(await pin(), everyone)
        portfolio = Portfolio(subject=NOBODY, silos=reading.silos, unread=reading.unread)

        assert decode_json(encode_json(portfolio), Portfolio, what="test") == portfolio

    async def test_order_and_repetition_of_accounts_change_nothing(self, protocol, adapter, pin, everyone):
        pinned = await pin()
        once = await adapter.read(pinned, everyone)
        again = await adapter.read(pinned, [*reversed(everyone), *everyone])

        assert sorted(once.silos, key=lambda silo: silo.id) == sorted(again.silos, key=lambda silo: silo.id)

    async def test_nobody_holds_nothing_and_no_question_has_no_answer(self, protocol, adapter, pin):
        for accounts in ([NOBODY], []):
            reading = await adapter.read(await pin(), accounts)
            assert (reading.silos, reading.unread) == ((), ())

    async def test_who_holds_something_is_discovered(self, protocol, adapter, pin, everyone):
        pinned = await pin()
        found = await adapter.discover(pinned, start_block=0)
        if protocol == "wallet":  # everyone has one
            assert found == frozenset()
            return
        assert {silo.account for silo in (await adapter.read(pinned, everyone)).silos} <= found
        assert ZERO_ADDRESS not in found
        assert await adapter.discover(pinned, start_block=pinned.block.number + 1) == frozenset()

    async def test_a_failing_endpoint_is_never_a_reading(self, protocol, adapter, pin, everyone):
        failing = Failing((await pin()).block)
        with pytest.raises(TransientError):
            await adapter.read(failing, everyone)

    async def test_reverting_contracts_are_unread_for_every_account(self, protocol, adapter, pin, everyone):
        reading = await adapter.read(Reverting(await pin()), everyone)

        assert {missing.account for missing in reading.unread} == set(everyone)
        assert {missing.code for missing in reading.unread} == {"call_reverted"}
        # a coin balance is no contract's to refuse
        assert all({p.instrument.symbol for p in silo.positions} == {"ETH"} for silo in reading.silos)
        assert protocol == "wallet" or not reading.silos

    async def test_a_recording_replays_bit_for_bit(self, protocol, chain, tables, pin, everyone, tmp_path):
        crash(chain, percent=20)
        adapter = self.make(protocol, chain, tables)
        path = tmp_path / f"{protocol}.json"
        pinned = await pin()
        recorded = await record(adapter, pinned, everyone, path, deployment=tables[protocol])
        replayed = await adapter.read(load_recording(path), everyone)

        assert recorded == await adapter.read(pinned, everyone)
        assert [encode_json(silo) for silo in replayed.silos] == [encode_json(silo) for silo in recorded.silos]
        assert replayed == recorded
        again = tmp_path / "again.json"
        await record(adapter, load_recording(path), everyone, again, deployment=tables[protocol])
        assert again.read_bytes() == path.read_bytes()

    async def test_hostile_answers_never_break_a_reading(self, protocol, adapter, pin, everyone):
        replay = await self.replay(adapter, await pin(), everyone)
        changed = 0
        for seed in range(60):
            twisted = Twisted(replay, seed, share=(0.002, 0.02, 0.3)[seed % 3])
            reading = await adapter.read(twisted, everyone)
            assert all(missing.code in REASONS and missing.detail.isprintable() for missing in reading.unread)
            portfolio = Portfolio(subject=NOBODY, silos=reading.silos, unread=reading.unread)
            assert decode_json(encode_json(portfolio), Portfolio, what="test") == portfolio
            changed += reading != await adapter.read(replay, everyone)
        assert changed > 20

    async def test_what_is_refused_is_named_and_never_left_out(self, protocol, adapter, pin, everyone):
        replay = await self.replay(adapter, await pin(), everyone)
        true = by_account((await adapter.read(replay, everyone)).silos)
        refused = 0
        for seed in range(60):
            reading = await adapter.read(Twisted(replay, seed, share=0.01, only_refuse=True), everyone)
            named = {missing.account for missing in reading.unread}
            found = by_account(reading.silos)
            # rates and prices of others may not change, so an account is whole or named
            for account, silos in true.items():
                assert account in named or quantities(found.get(account, [])) == quantities(silos)
            refused += bool(named)
        assert refused > 10

    async def replay(self, adapter: ProtocolAdapter, reader: PinnedReader, accounts: list[Address]) -> ReplayReader:
        recorder = RecordingReader(reader)
        await adapter.read(recorder, accounts)
        return ReplayReader(recorder.recording(protocol=protocol_of(adapter.venue), deployment={}, accounts=accounts))


def by_account(silos: Sequence[Silo]) -> dict[Address, list[Silo]]:
    found: dict[Address, list[Silo]] = {}
    for silo in silos:
        found.setdefault(silo.account, []).append(silo)
    return found


def quantities(silos: Sequence[Silo]) -> list[tuple[str, list[int]]]:
    return [(silo.id, [position.quantity for position in silo.positions]) for silo in silos]


class Reverting:
    """A reader on which every contract reverts."""

    def __init__(self, reader: PinnedReader) -> None:
        self._reader = reader
        self.block = reader.block

    async def call(self, calls: Sequence[Call]) -> tuple[CallResult, ...]:
        return tuple(CallReverted(b"", "execution reverted") for _ in calls)

    async def native_balances(self, accounts: Sequence[Address]) -> tuple[int, ...]:
        return await self._reader.native_balances(accounts)
