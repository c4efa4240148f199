"""What every protocol adapter must do. A subclass says on what: the local chain, or a recording."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.discovery import discover, fold_logs
from adapters.protocols import load_protocol
from adapters.recording import RecordingReader, ReplayReader, load_recording, record
from riskschema.codec import decode_json, encode_json, from_builtins
from riskschema.errors import InvalidData, TransientError
from riskschema.holders import Known, Log, LogQuery, Touch
from riskschema.instruments import Token, chain_of, protocol_of
from riskschema.portfolio import BlockReference, NoLiquidation, Portfolio, Silo, WeightedCollateral
from riskschema.ports import (
    AssetFactors,
    Call,
    CallResult,
    CallReverted,
    CallSuccess,
    PinnedReader,
    ProtocolAdapter,
)
from riskschema.reasons import REASONS
from riskschema.units import ZERO_ADDRESS, Address
from tests.adapters.confirmed import Confirmed

NOBODY = Address("0x" + "77" * 20)
ASSETS: AssetFactors = {ZERO_ADDRESS: "ETH"}


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter is tested on."""

    protocol: str
    table: dict[str, Any]
    """The settings of the deployment."""
    reader: PinnedReader
    accounts: tuple[Address, ...]
    """Among them holders."""
    start_block: int
    """Where discovery begins."""
    fewest_silos: int = 1
    assets: AssetFactors = msgspec.field(default_factory=lambda: ASSETS)

    def adapter(self) -> ProtocolAdapter:
        """Make the adapter anew."""
        module = load_protocol(self.protocol)
        deployment = from_builtins(self.table, module.Deployment, what=self.protocol)
        return module.adapter(deployment, chain_id=self.reader.block.chain_id, assets=self.assets)


class Failing(Confirmed):
    """A reader whose endpoint is gone."""

    def __init__(self, block: BlockReference) -> None:
        self.block = block

    async def call(self, calls: Sequence[Call]) -> tuple[CallResult, ...]:
        raise TransientError("gone", code="endpoint_unreachable")

    async def native_balances(self, accounts: Sequence[Address]) -> tuple[int, ...]:
        raise TransientError("gone", code="endpoint_unreachable")

    async def logs(self, **query: Any) -> tuple[Log, ...]:
        raise TransientError("gone", code="endpoint_unreachable")


class Twisted(Confirmed):
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

    async def logs(self, **query: Any) -> tuple[Log, ...]:
        return await self._reader.logs(**query)

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


class Reverting(Confirmed):
    """A reader on which every contract reverts."""

    def __init__(self, reader: PinnedReader) -> None:
        self._reader = reader
        self.block = reader.block

    async def call(self, calls: Sequence[Call]) -> tuple[CallResult, ...]:
        return tuple(CallReverted(b"", "execution reverted") for _ in calls)

    async def native_balances(self, accounts: Sequence[Address]) -> tuple[int, ...]:
        return await self._reader.native_balances(accounts)

    async def logs(self, **query: Any) -> tuple[Log, ...]:
        return await self._reader.logs(**query)


class AdapterContract:
    """Tests of `riskschema.ports.ProtocolAdapter`. A subclass gives the fixture `ground`."""

    @pytest.fixture
    def adapter(self, ground: Ground) -> ProtocolAdapter:
        return ground.adapter()

    async def test_a_reading_is_well_formed(self, ground: Ground, adapter: ProtocolAdapter) -> None:
        reading = await adapter.read(ground.reader, ground.accounts)

        assert adapter.venue == reading.venue
        assert (protocol_of(adapter.venue), chain_of(adapter.venue)) == (ground.protocol, ground.reader.block.chain_id)
        assert reading.unread == ()
        assert len({silo.id for silo in reading.silos}) == len(reading.silos) >= ground.fewest_silos
        for silo in reading.silos:
            assert silo.id.startswith(":".join(filter(None, (silo.venue, silo.market, silo.account))))
            assert silo.venue == adapter.venue
            assert silo.account in ground.accounts
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

    async def test_a_reading_survives_the_published_json(self, ground: Ground, adapter: ProtocolAdapter) -> None:
        reading = await adapter.read(ground.reader, ground.accounts)
        portfolio = Portfolio(subject=NOBODY, silos=reading.silos, unread=reading.unread)

        assert decode_json(encode_json(portfolio), Portfolio, what="test") == portfolio

    async def test_order_and_repetition_of_accounts_change_nothing(
        self, ground: Ground, adapter: ProtocolAdapter
    ) -> None:
        once = await adapter.read(ground.reader, ground.accounts)
        again = await adapter.read(ground.reader, [*reversed(ground.accounts), *ground.accounts])

        assert sorted(once.silos, key=lambda silo: silo.id) == sorted(again.silos, key=lambda silo: silo.id)

    async def test_no_question_has_no_answer(self, ground: Ground, adapter: ProtocolAdapter) -> None:
        reading = await adapter.read(ground.reader, [])
        assert (reading.silos, reading.unread) == ((), ())

    async def test_who_can_be_liquidated_is_discovered(self, ground: Ground, adapter: ProtocolAdapter) -> None:
        found = await discover(adapter, ground.reader, start_block=ground.start_block)
        silos = (await adapter.read(ground.reader, ground.accounts)).silos
        if found.accounts:
            assert {silo.account for silo in silos} <= found.accounts
        else:  # balances alone are no reason to look at an account: everyone has some
            assert all(isinstance(silo.rule, NoLiquidation) for silo in silos)

    async def test_the_holdings_of_all_who_are_named_sum_to_the_totals_of_the_contracts(
        self, ground: Ground, adapter: ProtocolAdapter
    ) -> None:
        found = await discover(adapter, ground.reader, start_block=ground.start_block)
        books = await adapter.books(ground.reader, found.known)
        units = await adapter.holdings(ground.reader, found.known, found.holders)

        assert {book.refusal for book in books} <= {""}
        assert {holder.book for holder in found.holders} <= {book.name for book in books}
        assert len({book.name for book in books}) == len(books)
        sums = dict.fromkeys((book.name for book in books), 0)
        for holder, held in zip(found.holders, units, strict=True):
            assert held is not None
            sums[holder.book] += held
        for book in books:
            assert book.total in {None, sums[book.name]}
            assert book.tokens(sums[book.name]) >= 0

    async def test_logs_in_pieces_say_what_they_say_together(self, ground: Ground, adapter: ProtocolAdapter) -> None:
        logs = await logs_read(adapter, ground)
        whole = adapter.fold({}, logs)
        for pieces in (1, 2, 7):
            known: Known = {}
            touches: list[Touch] = []
            for at in range(0, len(logs), pieces):
                fold = adapter.fold(known, logs[at : at + pieces])
                assert set(adapter.log_query(known).addresses) <= set(adapter.log_query(fold.known).addresses)
                assert adapter.log_query(known).topics == adapter.log_query(fold.known).topics
                known, touches = fold.known, [*touches, *fold.touches]
            assert (known, touches) == (dict(whole.known), list(whole.touches))

    async def test_the_logs_that_name_something_say_it_without_the_others(
        self, ground: Ground, adapter: ProtocolAdapter
    ) -> None:
        logs = await logs_read(adapter, ground)
        known = adapter.fold({}, logs).known
        naming = adapter.log_query(known).naming
        kept = []
        if naming is not None:
            kept = [
                log
                for log in logs
                if log.address in naming.addresses
                and all(not some or topic in some for topic, some in zip(log.topics, naming.topics, strict=False))
            ]
        assert adapter.fold({}, kept).known == known

    async def test_one_query_is_enough_where_logs_name_no_further_contract(
        self, ground: Ground, adapter: ProtocolAdapter
    ) -> None:
        found = await discover(adapter, ground.reader, start_block=ground.start_block)
        asked: list[LogQuery] = []

        async def nothing(query: LogQuery) -> Sequence[Log]:
            asked.append(query)
            return ()

        again = await fold_logs(adapter, found.known, nothing)
        assert again.known == found.known
        assert len(asked) <= 1

    async def test_who_holds_is_named_though_every_contract_reverts_but_then_not_counted(
        self, ground: Ground, adapter: ProtocolAdapter
    ) -> None:
        true = await discover(adapter, ground.reader, start_block=ground.start_block)
        found = await discover(adapter, Reverting(ground.reader), start_block=ground.start_block)
        assert found == true
        books = await adapter.books(Reverting(ground.reader), found.known)
        assert {book.total for book in books} <= {None}
        for book, sound in zip(books, await adapter.books(ground.reader, found.known), strict=True):
            assert bool(book.refusal) == (sound.total is not None)
        units = await adapter.holdings(Reverting(ground.reader), found.known, found.holders)
        assert set(units) <= {None}

    async def test_a_failing_endpoint_is_never_a_reading(self, ground: Ground, adapter: ProtocolAdapter) -> None:
        failing = Failing(ground.reader.block)
        with pytest.raises(TransientError):
            await adapter.read(failing, ground.accounts)
        found = await discover(adapter, ground.reader, start_block=ground.start_block)
        if found.holders:
            with pytest.raises(TransientError):
                await discover(adapter, failing, start_block=ground.start_block)
            with pytest.raises(TransientError):
                await adapter.books(failing, found.known)
            with pytest.raises(TransientError):
                await adapter.holdings(failing, found.known, found.holders)

    async def test_reverting_contracts_are_unread_for_every_account(
        self, ground: Ground, adapter: ProtocolAdapter
    ) -> None:
        reading = await adapter.read(Reverting(ground.reader), ground.accounts)

        assert {missing.account for missing in reading.unread} == set(ground.accounts)
        assert {missing.code for missing in reading.unread} == {"call_reverted"}
        for position in (position for silo in reading.silos for position in silo.positions):
            # a coin balance is no contract's to refuse
            assert isinstance(position.instrument, Token)
            assert position.instrument.address == ZERO_ADDRESS

    async def test_a_recording_replays_bit_for_bit(
        self, ground: Ground, adapter: ProtocolAdapter, tmp_path: Path
    ) -> None:
        path, again = tmp_path / "once.json", tmp_path / "again.json"
        recorded = await record(adapter, ground.reader, ground.accounts, path, deployment=ground.table)
        replayed = await adapter.read(load_recording(path), ground.accounts)

        assert recorded == await adapter.read(ground.reader, ground.accounts)
        assert [encode_json(silo) for silo in replayed.silos] == [encode_json(silo) for silo in recorded.silos]
        assert replayed == recorded
        await record(adapter, load_recording(path), ground.accounts, again, deployment=ground.table)
        assert again.read_bytes() == path.read_bytes()

    async def test_hostile_answers_never_break_a_reading(self, ground: Ground, adapter: ProtocolAdapter) -> None:
        replay, calls = await replayed_calls(ground)
        true = await adapter.read(replay, ground.accounts)
        changed = 0
        for seed in range(60):
            twisted = Twisted(replay, seed, share=(2 / calls, 10 / calls, 0.3)[seed % 3])
            reading = await adapter.read(twisted, ground.accounts)
            assert all(missing.code in REASONS and missing.detail.isprintable() for missing in reading.unread)
            portfolio = Portfolio(subject=NOBODY, silos=reading.silos, unread=reading.unread)
            assert decode_json(encode_json(portfolio), Portfolio, what="test") == portfolio
            changed += reading != true
        assert changed > 20

    async def test_what_is_refused_is_named_and_never_left_out(self, ground: Ground, adapter: ProtocolAdapter) -> None:
        replay, calls = await replayed_calls(ground)
        true = by_account((await adapter.read(replay, ground.accounts)).silos)
        refused = 0
        for seed in range(60):
            twisted = Twisted(replay, seed, share=max(0.01, 2 / calls), only_refuse=True)
            reading = await adapter.read(twisted, ground.accounts)
            named = {each.account for each in reading.unread} | {each.account for each in reading.aside}
            found = by_account(reading.silos)
            # rates and prices of others may not change, so an account is whole or named
            for account, silos in true.items():
                assert account in named or quantities(found.get(account, [])) == quantities(silos)
            refused += bool(named)
        assert refused > 10


async def logs_read(adapter: ProtocolAdapter, ground: Ground) -> list[Log]:
    """Return all logs of the venue, in the order of the chain."""
    logs: list[Log] = []

    async def read(query: LogQuery) -> Sequence[Log]:
        found = await ground.reader.logs(addresses=query.addresses, topics=query.topics, from_block=ground.start_block)
        logs.extend(found)
        return found

    await fold_logs(adapter, {}, read)
    return sorted(logs, key=lambda log: log.place)


async def replayed_calls(ground: Ground) -> tuple[ReplayReader, int]:
    """Return a replay of one reading, and how many contract calls it took."""
    recorder = RecordingReader(ground.reader)
    await ground.adapter().read(recorder, ground.accounts)
    recording = recorder.recording(protocol=ground.protocol, deployment={}, accounts=ground.accounts)
    return ReplayReader(recording), len(recording.calls)


def by_account(silos: Sequence[Silo]) -> dict[Address, list[Silo]]:
    found: dict[Address, list[Silo]] = {}
    for silo in silos:
        found.setdefault(silo.account, []).append(silo)
    return found


def quantities(silos: Sequence[Silo]) -> list[tuple[str, list[int]]]:
    return [(silo.id, [position.quantity for position in silo.positions]) for silo in silos]
