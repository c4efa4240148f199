"""Explanations cost little: one at a time, seldom, each time of another; who helps reads its store once a slot."""

from __future__ import annotations

from attest.agreement.effects import Disagreement
from attest.wire.messages import Answer, Part, ReportReference
from node.round.exchange.explanations import PAUSE_SLOTS, Explanations
from tests.builders import reports

FOUND = Disagreement(computed=reports.header(round=9), certified=reports.header(round=9), peers=(0, 2, 3))


def test_the_next_one_begins_after_a_pause_and_asks_another() -> None:
    known = Explanations()
    first = known.begin(FOUND, 100)
    assert first is not None
    assert known.begin(FOUND, 101) is None
    assert known.begin(FOUND, 100 + PAUSE_SLOTS - 1) is None
    second = known.begin(FOUND, 100 + PAUSE_SLOTS)
    assert second is not None
    assert second.peer != first.peer
    assert known.begin(FOUND, 50) is not None, "a clock that was wrong once"


def test_nobody_is_asked_where_nobody_signed() -> None:
    alone = Disagreement(computed=FOUND.computed, certified=FOUND.certified)
    assert Explanations().begin(alone, 100) is None


def test_only_the_answer_that_was_asked_for_is_awaited() -> None:
    explanation = Explanations().begin(FOUND, 99)
    assert explanation is not None
    fields = {"recipient": 1, "reference": explanation.reference, "start": 0, "total": 1, "data": b""}
    wanted = Answer(part=Part.LEAVES, **fields)  # type: ignore[arg-type]
    assert explanation.awaits(explanation.peer, wanted)
    assert not explanation.awaits(1, wanted)
    assert not explanation.awaits(explanation.peer, Answer(part=Part.PORTFOLIOS, **fields))  # type: ignore[arg-type]


def test_leaves_of_another_report_are_read_once_a_slot_whoever_asks() -> None:
    known = Explanations()
    one, other = (ReportReference(round=number, report_hash=bytes(32)) for number in (1, 2))
    assert known.may_read(7)
    known.keep_leaves(one, (b"leaf",))
    assert known.kept_leaves(one) == (b"leaf",)
    assert known.kept_leaves(other) is None
    assert not known.may_read(7)
    assert known.may_read(8)
