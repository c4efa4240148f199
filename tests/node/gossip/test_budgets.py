"""Whoever floods spends its own budget at one connection, and nobody keeps another waiting."""

from __future__ import annotations

from node.gossip.budgets import BYTES_PER_SLOT, MESSAGES_PER_SLOT, SLOTS_SAVED, Budgets
from node.gossip.inbox import MAX_WAITING, MAX_WAITING_BYTES, Inbox
from node.gossip.repetition import MAX_REMEMBERED, Repetition
from node.gossip.transport import Arrival, Channel

INTERVAL = 10.0
SAVED = MESSAGES_PER_SLOT * SLOTS_SAVED


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def spent(budgets: Budgets, connection: str, sender: int, *, size: int = 1, tries: int = 1_000) -> int:
    return sum(budgets.spend(connection, sender, size) for _ in range(tries))


def test_a_sender_may_send_so_much_by_one_connection_and_as_much_by_another() -> None:
    budgets = Budgets(INTERVAL, Clock())
    assert spent(budgets, "first", 1) == SAVED
    assert spent(budgets, "first", 1) == 0
    assert spent(budgets, "second", 1) == SAVED
    assert spent(budgets, "first", 2) == SAVED


def test_a_budget_comes_back_with_time_and_is_never_more_than_saved() -> None:
    clock = Clock()
    budgets = Budgets(INTERVAL, clock)
    spent(budgets, "first", 1)
    clock.now += INTERVAL
    assert spent(budgets, "first", 1) == MESSAGES_PER_SLOT
    clock.now += 1_000 * INTERVAL
    assert spent(budgets, "first", 1) == SAVED


def test_large_payloads_spend_the_budget_of_bytes() -> None:
    budgets = Budgets(INTERVAL, Clock())
    assert spent(budgets, "first", 1, size=BYTES_PER_SLOT) == SLOTS_SAVED
    assert budgets.spend("first", 1, 0)  # it was refused for its size alone


def arrival(sender: int, payload: bytes = b"x") -> Arrival:
    return Arrival(sender=sender, channel=Channel.MESSAGE, payload=payload)


def taken(inbox: Inbox) -> list[Arrival]:
    return [arrival for arrival in iter(inbox.take, None) if arrival is not None]


async def test_senders_take_turns_however_many_payloads_one_of_them_has() -> None:
    inbox = Inbox()
    for number in range(5):
        inbox.put("a", arrival(1, b"%d" % number))
    inbox.put("a", arrival(2))
    inbox.put("a", arrival(3))
    assert [arrival.sender for arrival in taken(inbox)] == [1, 2, 3, 1, 1, 1, 1]
    assert inbox.take() is None


async def test_what_waits_is_bounded_for_each_sender_in_number_and_bytes() -> None:
    inbox = Inbox()
    assert sum(inbox.put("a", arrival(1)) for _ in range(1_000)) == MAX_WAITING
    large = bytes(MAX_WAITING_BYTES // 3)
    assert sum(inbox.put("a", arrival(2, large)) for _ in range(10)) == 3
    assert inbox.put("a", arrival(3))
    assert len(taken(inbox)) == MAX_WAITING + 3 + 1
    assert inbox.put("a", arrival(1))
    assert inbox.put("a", arrival(2, large))


async def test_noise_that_one_connection_brings_in_a_senders_name_takes_no_room_at_another() -> None:
    inbox = Inbox()
    while inbox.put("hostile", arrival(1, b"noise")):
        pass
    assert inbox.put("honest", arrival(1, b"signal"))
    assert b"signal" in [each.payload for each in taken(inbox)][:2], "connections take turns"


def is_news(heard: Repetition, sender: int, payload: bytes, channel: str = "message") -> bool:
    """Say whether it is news, and remember it."""
    found = heard.is_news(sender, channel, payload)
    heard.remember(sender, channel, payload)
    return found


def test_a_payload_is_news_once_in_a_while() -> None:
    clock = Clock()
    heard = Repetition(1.0, clock)
    assert is_news(heard, 1, b"a")
    assert not is_news(heard, 1, b"a")
    assert is_news(heard, 2, b"a")  # by another sender: whoever copies does not silence the author
    assert is_news(heard, 1, b"b")
    clock.now += 1.1
    assert is_news(heard, 1, b"a")  # repeated by its sender: perhaps it came too early the first time


def test_a_payload_on_the_wrong_channel_does_not_make_the_right_one_a_repetition() -> None:
    heard = Repetition(1.0, Clock())
    assert is_news(heard, 1, b"a", "certificate")
    assert is_news(heard, 1, b"a", "message")


def test_what_is_remembered_is_bounded() -> None:
    heard = Repetition(1e9, Clock())
    for number in range(2 * MAX_REMEMBERED):
        assert is_news(heard, 1, b"%d" % number)
    assert len(heard._seen) <= MAX_REMEMBERED
