"""What every store must do: each implementation subclasses `StoreContract` and gives a `store` fixture."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from riskschema.errors import FatalError
from riskschema.ports import Store
from riskschema.rounds import StoredAccount, StoredEvidence, StoredHour, StoredMessage, StoredReport, StoredTransaction
from riskschema.units import Address, Hash32
from storage.memory import MemoryStore
from storage.store import open_store

NETWORK = Hash32("0x" + "a1" * 32)
OTHER_NETWORK = Hash32("0x" + "b2" * 32)
SENDER = Address("0x" + "11" * 20)
OTHER_SENDER = Address("0x" + "22" * 20)
LARGEST_UINT256 = 2**256 - 1


def digest(number: int) -> Hash32:
    return Hash32(number.to_bytes(32, "big"))


def message(
    round_number: int = 1, kind: str = "observation", sender: str = "one", payload: bytes = b"x"
) -> StoredMessage:
    return StoredMessage(round=round_number, kind=kind, sender=sender, payload=payload)


def certified(kept: StoredReport, certificate: bytes) -> StoredReport:
    return msgspec.structs.replace(kept, certificate=certificate)


def report(round_number: int = 1, *, network: Hash32 = NETWORK, report_hash: int = 7) -> StoredReport:
    return StoredReport(
        config_digest=network,
        round=round_number,
        report_hash=digest(report_hash),
        header=b"header %d" % report_hash,
        state=b"state %d" % report_hash,
        certificate=None,
    )


def account(number: int) -> StoredAccount:
    return StoredAccount(
        subject=Address(f"0x{number:040x}"),
        leaf=b"leaf %d" % number,
        proof=tuple(digest(number + step) for step in range(number % 4)),
        assessment=b'{"score": %d}' % number,
        portfolio=b'{"silos":[{"quantity":"-%d"}]}' % (number * 10**20),
    )


def transaction(
    nonce: int = 0,
    *,
    network: Hash32 = NETWORK,
    sender: Address = SENDER,
    chain_id: int = 31337,
    round_number: int = 1,
    status: str = "pending",
) -> StoredTransaction:
    return StoredTransaction(
        config_digest=network,
        chain_id=chain_id,
        sender=sender,
        nonce=nonce,
        round=round_number,
        raw=b"\x02raw",
        hash=digest(100 + nonce),
        max_fee_per_gas=10**9,
        max_priority_fee_per_gas=10**8,
        status=status,
        block_number=None,
        gas_used=None,
    )


class StoreContract:
    """Tests of `riskschema.ports.Store`."""

    async def test_a_message_comes_back_whole(self, store: Store) -> None:
        kept = message(payload=bytes(range(256)))
        assert await store.put_message(NETWORK, kept) == kept
        assert await store.messages(NETWORK, 1) == (kept,)

    async def test_the_first_message_of_a_sender_and_kind_wins(self, store: Store) -> None:
        first = message(payload=b"first")
        await store.put_message(NETWORK, first)
        assert await store.put_message(NETWORK, message(payload=b"second")) == first
        assert await store.messages(NETWORK, 1) == (first,)

    async def test_messages_are_returned_in_the_order_they_were_kept(self, store: Store) -> None:
        kept = [message(sender=sender, kind=kind) for sender in ("z", "a", "m") for kind in ("share", "observation")]
        for each in kept:
            await store.put_message(NETWORK, each)
        assert await store.messages(NETWORK, 1) == tuple(kept)

    async def test_messages_of_other_rounds_and_networks_are_apart(self, store: Store) -> None:
        await store.put_message(NETWORK, message(1, payload=b"one"))
        await store.put_message(NETWORK, message(2, payload=b"two"))
        await store.put_message(OTHER_NETWORK, message(1, payload=b"other"))
        assert [each.payload for each in await store.messages(NETWORK, 1)] == [b"one"]
        assert [each.payload for each in await store.messages(NETWORK, 2)] == [b"two"]
        assert [each.payload for each in await store.messages(OTHER_NETWORK, 1)] == [b"other"]
        assert await store.messages(OTHER_NETWORK, 2) == ()

    async def test_concurrent_messages_are_all_kept(self, store: Store) -> None:
        kept = [message(sender=f"sender {number}") for number in range(400)]
        await asyncio.gather(*(store.put_message(NETWORK, each) for each in kept))
        assert {each.sender for each in await store.messages(NETWORK, 1)} == {each.sender for each in kept}

    async def test_of_concurrent_rivals_exactly_one_is_kept_and_everyone_is_told_which(self, store: Store) -> None:
        rivals = [message(payload=b"%d" % number) for number in range(50)]
        answers = await asyncio.gather(*(store.put_message(NETWORK, each) for each in rivals))
        assert set(answers) == set(await store.messages(NETWORK, 1))
        assert len(set(answers)) == 1

    async def test_a_report_comes_back_with_its_accounts_by_subject(self, store: Store) -> None:
        await store.put_report(report(), [account(3), account(1), account(2)])
        assert await store.report(NETWORK, 1) == report()
        assert await store.accounts(NETWORK, 1) == (account(1), account(2), account(3))
        assert await store.account(NETWORK, 1, account(2).subject) == account(2)

    async def test_the_agreed_market_comes_back(self, store: Store) -> None:
        await store.put_report(report(), [account(1)], b'{"prices":[]}')
        assert await store.market(NETWORK, 1) == b'{"prices":[]}'
        assert await store.market(OTHER_NETWORK, 1) is None

    async def test_what_a_report_leaves_out_comes_back(self, store: Store) -> None:
        await store.put_report(report(), [account(1)], None, b'{"small":1}')
        assert await store.reading(NETWORK, 1) == b'{"small":1}'
        assert await store.reading(OTHER_NETWORK, 1) is None

    async def test_what_was_kept_without_positions_and_market_has_none_rather_than_empty_ones(
        self, store: Store
    ) -> None:
        plain = msgspec.structs.replace(account(1), portfolio=None)
        await store.put_report(report(), [plain])
        assert await store.account(NETWORK, 1, plain.subject) == plain
        assert await store.market(NETWORK, 1) is None

    @pytest.mark.parametrize("limit", [1, 3, 100, 1_000])
    async def test_pages_follow_each_other_by_subject(self, store: Store, limit: int) -> None:
        kept = tuple(account(3 * number) for number in range(1, 301))
        await store.put_report(report(), kept[::-1])
        found: list[StoredAccount] = []
        while page := await store.accounts(NETWORK, 1, after=found[-1].subject if found else None, limit=limit):
            assert len(page) <= limit
            found += page
        assert tuple(found) == kept
        assert await store.accounts(NETWORK, 1, after=account(4).subject, limit=1) == (account(6),)
        assert await store.accounts(NETWORK, 1, after=account(899).subject) == kept[-1:]
        assert await store.accounts(NETWORK, 1, after=account(900).subject) == ()

    async def test_what_is_not_there_is_none(self, store: Store) -> None:
        assert await store.report(NETWORK, 1) is None
        assert await store.latest_certified(NETWORK) is None
        assert await store.account(NETWORK, 1, SENDER) is None
        assert await store.accounts(NETWORK, 1) == ()
        assert await store.market(NETWORK, 1) is None
        assert await store.round_transaction(NETWORK, 31337, 1) is None

    async def test_a_report_without_accounts_is_kept(self, store: Store) -> None:
        await store.put_report(report(), [])
        assert await store.report(NETWORK, 1) == report()

    async def test_the_same_report_again_changes_nothing(self, store: Store) -> None:
        await store.put_report(report(), [account(1)])
        await store.certify(certified(report(), b"certificate"))
        await store.put_report(report(), [account(1)])
        kept = await store.report(NETWORK, 1)
        assert kept is not None
        assert kept.certificate == b"certificate"
        assert await store.accounts(NETWORK, 1) == (account(1),)

    async def test_another_report_of_the_same_round_is_refused(self, store: Store) -> None:
        await store.put_report(report(report_hash=7), [account(1)])
        with pytest.raises(FatalError) as refusal:
            await store.put_report(report(report_hash=8), [account(2)])
        assert refusal.value.code == "store_conflict"
        assert await store.report(NETWORK, 1) == report(report_hash=7)
        assert await store.accounts(NETWORK, 1) == (account(1),)

    async def test_a_fresh_chain_starts_at_round_one_again_in_an_old_database(self, store: Store) -> None:
        await store.put_report(report(report_hash=7), [account(1)])
        await store.certify(certified(report(report_hash=7), b"old"))
        await store.put_report(report(network=OTHER_NETWORK, report_hash=8), [account(2)])
        assert await store.latest_certified(OTHER_NETWORK) is None
        assert await store.accounts(OTHER_NETWORK, 1) == (account(2),)
        assert await store.accounts(NETWORK, 1) == (account(1),)

    async def test_the_latest_certified_report_is_the_one_of_the_highest_round(self, store: Store) -> None:
        for round_number in (9, 10, 11):
            await store.put_report(report(round_number, report_hash=round_number), [])
        await store.certify(certified(report(10, report_hash=10), b"ten"))
        await store.certify(certified(report(9, report_hash=9), b"nine"))
        latest = await store.latest_certified(NETWORK)
        assert latest is not None
        assert (latest.round, latest.certificate) == (10, b"ten")

    async def test_a_kept_certificate_stays(self, store: Store) -> None:
        await store.put_report(report(), [])
        await store.certify(certified(report(), b"first"))
        await store.certify(certified(report(), b"second"))
        kept = await store.report(NETWORK, 1)
        assert kept is not None
        assert kept.certificate == b"first"

    async def test_a_certified_report_that_was_not_computed_here_is_what_the_next_builds_on(self, store: Store) -> None:
        await store.put_report(report(), [account(1)])
        await store.certify(certified(report(), b"own"))
        other = certified(report(2, report_hash=22), b"another's")
        await store.certify(other)
        assert await store.latest_adopted(NETWORK) == other
        assert await store.latest_adopted(OTHER_NETWORK) is None
        assert await store.report_of(NETWORK, 2, other.report_hash) == other
        served = await store.latest_certified(NETWORK)
        assert served is not None
        assert served.round == 1, "the API serves accounts, and only this node's own report has them"

    async def test_an_outvoted_report_stays_beside_the_one_that_a_quorum_certified(self, store: Store) -> None:
        own, certified_one = report(report_hash=7), certified(report(report_hash=8), b"certificate")
        await store.put_report(own, [account(1)])
        await store.certify(certified_one)
        await store.certify(certified_one)
        assert await store.report(NETWORK, 1) == own
        assert await store.report_of(NETWORK, 1, own.report_hash) == own
        assert await store.report_of(NETWORK, 1, certified_one.report_hash) == certified_one
        assert await store.latest_certified(NETWORK) is None
        assert await store.latest_adopted(NETWORK) == certified_one

    async def test_the_report_that_is_built_on_is_never_pruned(self, store: Store) -> None:
        await store.put_report(report(), [account(1)])
        await store.certify(certified(report(), b"own"))
        for number in (2, 3, 4):
            await store.certify(certified(report(number, report_hash=number), b"another's"))
        assert await store.prune(NETWORK, below_round=10) == 2
        assert await store.report(NETWORK, 1) is not None
        latest = await store.latest_adopted(NETWORK)
        assert latest is not None
        assert latest.round == 4

    async def test_of_two_contradictions_the_first_is_evidence(self, store: Store) -> None:
        first = StoredEvidence(round=3, kind="proposal", sender="2", first=b"one", second=b"two")
        await store.put_evidence(NETWORK, first)
        await store.put_evidence(NETWORK, StoredEvidence(round=3, kind="proposal", sender="2", first=b"x", second=b"y"))
        other = StoredEvidence(round=3, kind="observation", sender="2", first=b"one", second=b"two")
        await store.put_evidence(NETWORK, other)
        await store.prune(NETWORK, below_round=10)
        assert await store.evidence(NETWORK) == (other, first)
        assert await store.evidence(OTHER_NETWORK) == ()

    async def test_a_transaction_comes_back_whole(self, store: Store) -> None:
        kept = msgspec.structs.replace(
            transaction(),
            max_fee_per_gas=LARGEST_UINT256,
            replaced=(digest(1), digest(2)),
            block_number=12,
            gas_used=34,
        )
        await store.put_transaction(kept)
        assert await store.pending_transactions(NETWORK, 31337, SENDER) == (kept,)

    async def test_a_replacement_overwrites_the_transaction_of_its_nonce(self, store: Store) -> None:
        await store.put_transaction(transaction(5))
        replacement = msgspec.structs.replace(transaction(5), hash=digest(1), replaced=(transaction(5).hash,))
        await store.put_transaction(replacement)
        assert await store.pending_transactions(NETWORK, 31337, SENDER) == (replacement,)

    async def test_transactions_wait_in_the_order_of_their_nonces_until_they_are_settled(self, store: Store) -> None:
        statuses = {4: "pending", 0: "final", 2: "landed", 1: "failed", 3: "abandoned"}
        for nonce, status in statuses.items():
            await store.put_transaction(transaction(nonce, status=status))
        waiting = await store.pending_transactions(NETWORK, 31337, SENDER)
        assert [each.nonce for each in waiting] == [2, 4]

    async def test_transactions_of_other_senders_chains_and_networks_are_apart(self, store: Store) -> None:
        others = [
            transaction(sender=OTHER_SENDER),
            transaction(chain_id=1),
            transaction(network=OTHER_NETWORK),
        ]
        for each in (transaction(), *others):
            await store.put_transaction(each)
        assert await store.pending_transactions(NETWORK, 31337, SENDER) == (transaction(),)
        assert await store.round_transaction(OTHER_NETWORK, 31337, 1) == others[2]

    async def test_the_newest_transaction_of_a_round_is_found(self, store: Store) -> None:
        await store.put_transaction(transaction(7, round_number=3, status="abandoned"))
        await store.put_transaction(transaction(8, round_number=3))
        await store.put_transaction(transaction(9, round_number=4))
        assert await store.round_transaction(NETWORK, 31337, 3) == transaction(8, round_number=3)

    async def test_hours_come_back_oldest_first_and_are_apart_by_network(self, store: Store) -> None:
        kept = [StoredHour(hour=3_600 * number, row=b"row %d" % number) for number in (2, 1, 3)]
        await store.put_hours(NETWORK, kept)
        await store.put_hours(OTHER_NETWORK, [StoredHour(hour=3_600, row=b"other")])
        await store.put_hours(NETWORK, [])
        assert await store.hours(NETWORK) == tuple(sorted(kept, key=lambda each: each.hour))
        assert [each.row for each in await store.hours(OTHER_NETWORK)] == [b"other"]

    async def test_an_hour_is_replaced_by_the_one_kept_last(self, store: Store) -> None:
        await store.put_hours(
            NETWORK, [StoredHour(hour=0, row=b"never certified"), StoredHour(hour=3_600, row=b"next")]
        )
        certified = [StoredHour(hour=0, row=b"certified")]
        await store.put_hours(NETWORK, certified)
        await store.put_hours(NETWORK, certified)
        assert [each.row for each in await store.hours(NETWORK)] == [b"certified", b"next"]

    async def test_hours_survive_pruning(self, store: Store) -> None:
        await store.put_hours(NETWORK, [StoredHour(hour=0, row=b"row")])
        await store.put_report(report(), [])
        await store.prune(NETWORK, below_round=100)
        assert len(await store.hours(NETWORK)) == 1

    async def test_pruning_spares_the_latest_certified_round_and_what_is_not_settled(self, store: Store) -> None:
        for round_number in range(1, 7):
            await store.put_message(NETWORK, message(round_number))
            await store.put_report(report(round_number, report_hash=round_number), [account(round_number)])
            await store.put_transaction(transaction(round_number, round_number=round_number, status="final"))
        await store.put_transaction(transaction(99, round_number=1))
        await store.certify(certified(report(3, report_hash=3), b"certificate"))
        await store.put_message(OTHER_NETWORK, message(1))

        assert await store.prune(NETWORK, below_round=5) == 3

        kept = [number for number in range(1, 7) if await store.report(NETWORK, number) is not None]
        assert kept == [3, 5, 6]
        assert await store.accounts(NETWORK, 1) == ()
        assert await store.accounts(NETWORK, 3) == (account(3),)
        assert await store.messages(NETWORK, 2) == ()
        assert await store.messages(NETWORK, 3) == (message(3),)
        assert await store.messages(OTHER_NETWORK, 1) == (message(1),)
        assert await store.round_transaction(NETWORK, 31337, 1) == transaction(99, round_number=1)
        assert await store.round_transaction(NETWORK, 31337, 2) is None
        assert await store.prune(NETWORK, below_round=5) == 0

    async def test_one_call_prunes_at_most_so_many_of_the_oldest_rounds(self, store: Store) -> None:
        for round_number in (5, 3, 1, 4, 2):
            await store.put_message(NETWORK, message(round_number))
        assert await store.prune(NETWORK, below_round=5, at_most=3) == 3
        assert await store.messages(NETWORK, 3) == ()
        assert await store.messages(NETWORK, 4) == (message(4),)
        assert await store.prune(NETWORK, below_round=5, at_most=3) == 1
        assert await store.prune(NETWORK, below_round=5, at_most=3) == 0

    async def test_digests_are_told_as_long_as_a_report_of_theirs_is_kept(self, store: Store) -> None:
        assert await store.config_digests() == ()
        await store.put_report(report(network=OTHER_NETWORK), [])
        await store.put_report(report(), [])
        await store.put_report(report(2), [])
        assert await store.config_digests() == (NETWORK, OTHER_NETWORK)
        await store.prune(OTHER_NETWORK, below_round=2)
        assert await store.config_digests() == (NETWORK,)

    async def test_what_is_used_grows_with_rounds_and_falls_when_they_are_pruned(self, store: Store) -> None:
        empty = await store.size()
        noise = bytes(random.Random(1).randbytes(20_000))
        for round_number in (1, 2):
            kept = [msgspec.structs.replace(account(number), assessment=noise) for number in range(10)]
            await store.put_report(report(round_number), kept)
        full = await store.size()
        assert full.used - empty.used >= 2 * len(noise)
        await store.prune(NETWORK, below_round=2)
        after = await store.size()
        assert after.used - empty.used <= (full.used - empty.used) * 0.6
        assert after.used + after.free <= full.used + full.free

    async def test_what_settles_after_its_round_was_pruned_is_pruned_too(self, store: Store) -> None:
        await store.put_report(report(), [])
        await store.put_transaction(transaction())
        assert await store.prune(NETWORK, below_round=5) == 1
        await store.put_transaction(transaction(status="final"))
        assert await store.prune(NETWORK, below_round=1) == 0
        assert await store.round_transaction(NETWORK, 31337, 1) is not None
        assert await store.prune(NETWORK, below_round=5) == 1
        assert await store.round_transaction(NETWORK, 31337, 1) is None

    async def test_transactions_that_count_towards_a_budget_outlive_their_rounds(self, store: Store) -> None:
        for round_number in range(1, 7):
            await store.put_report(report(round_number, report_hash=round_number), [])
            await store.put_transaction(transaction(round_number, round_number=round_number, status="final"))
        await store.put_transaction(transaction(1, round_number=6, chain_id=1))
        assert await store.prune(NETWORK, below_round=6, transactions_below=3) == 5
        assert await store.prune(NETWORK, below_round=6, transactions_below=3) == 0
        sent = await store.sent_transactions(NETWORK, 31337, SENDER, from_round=1)
        assert [kept.round for kept in sent] == [3, 4, 5, 6]
        assert [kept.nonce for kept in await store.sent_transactions(NETWORK, 31337, SENDER, from_round=5)] == [5, 6]
        assert await store.sent_transactions(OTHER_NETWORK, 31337, SENDER, from_round=1) == ()


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestSqlStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        async with open_store(tmp_path / "node.db") as store:
            yield store
