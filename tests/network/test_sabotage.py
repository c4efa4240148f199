"""The schedules notice it when any one rule of the agreement is taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from attest.agreement import machine, voting
from attest.agreement.machine import RoundMachine
from attest.agreement.round_memory import RoundMemory
from attest.agreement.rules import AgreementRules
from attest.formats import certificate
from attest.formats.quorums import byzantine
from attest.keys.guard_file import MarkRow
from riskschema.portfolio import BlockReference
from tests.network.correct_operator import CorrectOperator
from tests.network.disk import MemoryGuardFile
from tests.network.test_schedules import broken_laws

ENOUGH = 400
"""Schedules of four operators: a part of those that `test_schedules` runs."""
Patch = pytest.MonkeyPatch


def no_parent_rule(patch: Patch) -> None:
    write, sign = MemoryGuardFile.write, RoundMachine.on_signature

    def forget(file: MemoryGuardFile, row: MarkRow) -> None:
        write(file, msgspec.structs.replace(row, parent_round=0))

    def on_signature(self: RoundMachine, round_number: int, signature: bytes) -> Any:
        effects = sign(self, round_number, signature)
        self._parent_from = 0
        return effects

    patch.setattr(MemoryGuardFile, "write", forget)
    patch.setattr(RoundMachine, "on_signature", on_signature)


def guard_that_forgets(patch: Patch) -> None:
    """Marks are lost in a crash, and the database that would have told them again: a guard signs whatever comes."""
    crash = CorrectOperator.crash

    def forget(operator: CorrectOperator, **_: Any) -> None:
        crash(operator, lose_database=True)
        operator.disk.marks = MemoryGuardFile()

    patch.setattr(CorrectOperator, "crash", forget)


def send_without_storing(patch: Patch) -> None:
    patch.setattr(CorrectOperator, "_store", lambda _self, _key, payload: payload)


def pin_what_one_names(patch: Patch) -> None:
    agree_pin = voting.agree_pin

    def alone(views: Sequence[Sequence[BlockReference]], **others: Any) -> BlockReference | None:
        return agree_pin(views, **{**others, "one_honest": 1})

    patch.setattr(voting, "agree_pin", alone)


def highest_instead_of_median(patch: Patch) -> None:
    patch.setattr(voting, "median", max)


def one_signature_less(patch: Patch) -> None:
    patch.setattr(AgreementRules, "certifying", property(lambda rules: byzantine(rules.n) - 1))
    patch.setattr(certificate, "byzantine", lambda n: byzantine(n) - 1)


def any_state_will_do(patch: Patch) -> None:
    patch.setattr(machine, "check_state", lambda _header, _state: None)


def count_a_share_twice(patch: Patch) -> None:
    signatures_for = RoundMemory.signatures_for

    def twice(memory: RoundMemory, report: bytes) -> dict[int, bytes]:
        signatures = signatures_for(memory, report)
        return {operator + again: each for operator, each in signatures.items() for again in (0, 1)}

    patch.setattr(RoundMemory, "signatures_for", twice)


SABOTAGE: list[Callable[[Patch], None]] = [
    no_parent_rule,
    guard_that_forgets,
    send_without_storing,
    pin_what_one_names,
    highest_instead_of_median,
    one_signature_less,
    any_state_will_do,
    count_a_share_twice,
]


@pytest.mark.parametrize("sabotage", SABOTAGE)
def test_a_rule_that_is_taken_away_is_missed(sabotage: Callable[[Patch], None], monkeypatch: Patch) -> None:
    sabotage(monkeypatch)
    for first in range(0, ENOUGH, 10):
        if broken_laws(4, range(first, first + 10)):
            return
    pytest.fail(f"{ENOUGH} schedules did not notice: {sabotage.__name__}")
