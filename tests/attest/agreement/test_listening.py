"""A key whose guard may have forgotten listens before it speaks: for itself elsewhere, and for the time."""

import pytest

from attest.agreement.listening import Listening
from attest.wire.envelope import open_body, open_message, read_envelope, seal
from attest.wire.messages import Body, MessageKind, Observation, Presence, Share
from riskschema.errors import FatalError, ProtocolViolation, TransientError
from tests.attest.agreement.round_kit import identity, observation, rules

RULES = rules(7)
ME = 2
BEGUN = 100
NOW = RULES.slot_start_ms(BEGUN) + 3_000
OVER = RULES.slot_start_ms(BEGUN + 2)


def listening(boot_number: int = 1, *, me: int = ME, now_ms: int = NOW) -> Listening:
    return Listening(RULES, me=me, sign=identity(me).sign, boot_number=boot_number, now_ms=now_ms)


def say(body: Body, sender: int, round_number: int = BEGUN, *, key: int | None = None) -> bytes:
    sign = identity(sender if key is None else key).sign
    return seal(body, config_digest=RULES.config_digest, round_number=round_number, sender=sender, sign=sign)


def clock(sender: int, ahead_ms: int, *, at: int = NOW) -> bytes:
    return say(Presence(boot_number=7, clock_ms=at + ahead_ms), sender)


def in_use():
    return pytest.raises(FatalError, check=lambda error: error.code == "key_in_use")


def wrong_clock():
    return pytest.raises(TransientError, check=lambda error: error.code == "clock_wrong")


def test_it_says_that_it_is_there_and_nothing_else() -> None:
    start = listening(boot_number=5)
    (payload,) = start.on_tick(NOW)
    assert open_body(read_envelope(payload)) == Presence(boot_number=5, clock_ms=NOW)
    assert start.on_tick(NOW + 1) == ()
    assert start.next_wake() == NOW + 5_000
    (again,) = start.on_tick(NOW + 5_000)
    assert open_message(again, RULES, current=BEGUN).kind is MessageKind.PRESENCE


def test_it_is_over_two_slots_later_where_nobody_is_heard() -> None:
    start = listening()
    assert not start.is_over(OVER - 1)
    assert start.is_over(OVER)
    assert start.began == BEGUN


def test_two_machines_that_start_with_one_key_both_stop() -> None:
    one, other = listening(1), listening(2)
    for speaker, hearer in ((one, other), (other, one)):
        (payload,) = speaker.on_tick(NOW)
        speaker.on_message(payload, NOW)
        with in_use():
            hearer.on_message(payload, NOW + 300)


@pytest.mark.parametrize("body", [observation(NOW // 1_000), Share(report_hash=bytes(32), signature=bytes(65))])
def test_a_message_of_the_key_that_was_begun_since_stops_it(body: Body) -> None:
    start = listening()
    for earlier in (BEGUN - 1, BEGUN):
        start.on_message(say(body, ME, earlier), NOW)
    with in_use():
        start.on_message(say(body, ME, BEGUN + 1), NOW)


def test_what_an_earlier_start_said_is_no_other_start() -> None:
    start = listening()
    start.on_message(clock(ME, -60_000), NOW)
    assert start.is_over(OVER)


def test_the_last_word_of_a_start_that_crashed_a_moment_ago_stops_nothing_but_a_word_since_does() -> None:
    start = listening()
    for _ in range(3):  # every broker keeps it, and every connection gets it again
        start.on_message(clock(ME, -1), NOW + 2_000)
    with in_use():
        start.on_message(clock(ME, 1), NOW + 2_000)


def test_a_forged_message_stops_nobody() -> None:
    start = listening()
    for body in (Presence(boot_number=9, clock_ms=NOW), observation(NOW // 1_000)):
        with pytest.raises(ProtocolViolation, check=lambda error: error.code == "forged"):
            start.on_message(say(body, ME, BEGUN + 1, key=3), NOW)


def test_its_clock_must_be_that_of_f_plus_1_peers() -> None:
    start = listening()
    for peer in (0, 1, 3):
        start.on_message(clock(peer, 3_600_000), NOW)
    with wrong_clock():
        start.is_over(OVER)
    start.on_message(clock(4, 2_500), NOW)
    start.on_message(clock(5, -2_500), NOW)
    with wrong_clock():
        start.is_over(OVER)
    start.on_message(clock(6, 0), NOW)
    assert start.is_over(OVER), "three of six agree, and two may lie"


def test_the_clock_of_an_observation_counts_as_well() -> None:
    start = listening()
    for peer in (0, 1, 3):
        start.on_message(say(observation(NOW // 1_000), peer), NOW + 400)
    assert start.is_over(OVER)


def test_a_clock_that_was_set_right_meanwhile_is_believed_by_the_newest_messages() -> None:
    start = listening()
    year = 365 * 86_400_000
    for peer in (0, 1, 3):
        start.on_message(clock(peer, -year), NOW)
    with wrong_clock():
        start.is_over(OVER)
    for peer in (0, 1, 3):
        start.on_message(clock(peer, 0, at=NOW + 9_000), NOW + 9_000)
        start.on_message(clock(peer, -year), NOW + 9_100)
    assert start.is_over(OVER)


@pytest.mark.parametrize("n", [4, 7])
def test_a_whole_committee_that_starts_at_once_waits_for_nobody(n: int) -> None:
    used = rules(n)
    starts = [
        Listening(used, me=index, sign=identity(index).sign, boot_number=index, now_ms=used.slot_start_ms(BEGUN))
        for index in range(n)
    ]
    for moment in range(used.slot_start_ms(BEGUN), used.slot_start_ms(BEGUN + 2), 1_000):
        said = [payload for start in starts for payload in start.on_tick(moment)]
        for start in starts:
            for payload in said:
                start.on_message(payload, moment + 50)
    assert all(start.is_over(used.slot_start_ms(BEGUN + 2)) for start in starts)


def test_messages_of_a_round_are_not_for_this_door_and_others_only_in_their_slots() -> None:
    seen: Observation = observation(NOW // 1_000)
    with pytest.raises(ProtocolViolation, check=lambda error: error.code == "malformed"):
        open_message(say(seen, 0), RULES, current=BEGUN)
    with pytest.raises(ProtocolViolation, check=lambda error: error.code == "stale"):
        open_message(clock(0, 0), RULES, current=BEGUN + 2)
    with pytest.raises(ProtocolViolation, check=lambda error: error.code == "forged"):
        open_message(say(Presence(boot_number=1, clock_ms=1), 0, key=1), RULES, current=BEGUN)
