"""What `--once` tells of several nodes comes from their own logs."""

from __future__ import annotations

from pathlib import Path

from node.key_files import PublicKeys
from node.local.logs import step_seconds
from node.local.operators import LocalOperator
from node.local.processes import LOG
from riskschema.rounds import RoundStep
from riskschema.units import Address, Hash32

KEYS = PublicKeys(
    attestation=Address("0x" + "11" * 20), identity=Hash32("0x" + "22" * 32), transmitter=Address("0x" + "33" * 20)
)


def operator(directory: Path, *lines: str) -> LocalOperator:
    directory.mkdir()
    (directory / LOG).write_text("\n".join(lines))
    return LocalOperator(directory=directory, keys=KEYS)


def test_times_are_those_of_the_round_from_the_first_operator_that_tells_them(tmp_path: Path) -> None:
    def certified(number: int, seconds: str) -> str:
        return f'{{"event": "round certified", "round": {number}, "seconds": {{{seconds}}}}}'

    behind = operator(tmp_path / "behind", certified(6, '"read": 9.0'), '{"event": "progress", "detail": "round 7"}')
    half = operator(tmp_path / "half", certified(7, '"read": 8.0')[:-5])
    done = operator(tmp_path / "done", certified(7, '"read": 0.5, "assess": 0.25'), certified(8, '"read": 7.0'))
    assert step_seconds((behind, half), 7) == {}
    assert step_seconds((behind, half, done), 7) == {RoundStep.READ: 0.5, RoundStep.ASSESS: 0.25}
