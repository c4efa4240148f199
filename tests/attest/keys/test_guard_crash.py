"""kill -9 at any instant: the guard opens again, and never lets a second report of a round out."""

import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from attest.keys.guard import create_guard, open_guard, renew_guard
from riskschema.errors import FatalError, TransientError
from riskschema.units import Address
from tests.patience import HANG_SECONDS

ADDRESS = Address("0x" + "ab" * 20)
CONFIG = bytes([7]) * 32


def report(number: int) -> bytes:
    return number.to_bytes(32, "big")


def signature(round_number: int, number: int) -> bytes:
    """As deterministic as RFC 6979."""
    return b"%d/%d" % (round_number, number)


CHILD = """
import os, signal, sys
from pathlib import Path
from attest.keys.guard import open_guard

path, step = Path(sys.argv[1]), sys.argv[2]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
guard = open_guard(path, "0x" + "ab" * 20)
guard.enter(bytes([7]) * 32, 0)
if step == "before":
    die()
if step == "writing":
    guard._file.write = die
if step == "counting":
    guard._file._lock.write = die
if step == "counted":
    count = guard._file._lock.write
    guard._file._lock.write = lambda number: (count(number), die())

def sign():
    if step == "signing":
        die()
    return b"3/1"

released = guard.sign_once(bytes([7]) * 32, 3, (1).to_bytes(32, "big"), sign, parent_round=0)
os.write(1, released)
die()
"""


def child_that_dies(path: Path, step: str) -> bytes:
    """Sign report 1 of round 3 in a process that is killed on the way; return what it let out."""
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), step], capture_output=True, timeout=HANG_SECONDS, check=False
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    return child.stdout


@pytest.mark.parametrize("step", ["before", "signing", "writing", "counting", "counted", "released"])
def test_killed_at_each_step_it_continues_and_never_signs_two_reports(tmp_path: Path, step: str) -> None:
    path = tmp_path / "keys" / "guard"
    create_guard(path, ADDRESS)
    released = child_that_dies(path, step)
    assert released == (signature(3, 1) if step == "released" else b"")
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 3) <= 3, "an ordinary crash costs no round"
        if step in {"counting", "counted", "released"}:
            with pytest.raises(TransientError):
                guard.sign_once(CONFIG, 3, report(2), lambda: b"second", parent_round=0)
        assert guard.sign_once(CONFIG, 3, report(1), lambda: signature(3, 1), parent_round=0) == signature(3, 1)
        with pytest.raises(TransientError):
            guard.sign_once(CONFIG, 3, report(2), lambda: b"second", parent_round=0)


class GuardUnderFire(RuleBasedStateMachine):
    """Sign, restart, lose the file, restore an old one, export and import, in any order."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "keys" / "guard"
        create_guard(self.path, ADDRESS)
        self.guard = open_guard(self.path, ADDRESS)
        self.slot = 1
        self.guard.enter(CONFIG, self.slot)
        self.released: dict[int, set[bytes]] = {}
        self.lock = self.path.with_name("guard.lock")
        self.copy = Path(self.folder.name) / "copy"
        self.backup: dict[Path, bytes] | None = None
        self.exported: bytes | None = None

    @rule(ahead=st.integers(-2, 1), number=st.integers(1, 3))
    def sign(self, ahead: int, number: int) -> None:
        round_number = max(self.slot + ahead, 1)
        try:
            out = self.guard.sign_once(
                CONFIG, round_number, report(number), lambda: signature(round_number, number), parent_round=0
            )
        except TransientError:
            return
        except FatalError as error:
            if error.code != "guard_put_back":
                raise
            self.restart()
            return
        assert out == signature(round_number, number)
        self.released.setdefault(round_number, set()).add(out)

    @rule(slots=st.integers(1, 3))
    def time_passes(self, slots: int) -> None:
        self.slot += slots

    @rule()
    def restart(self) -> None:
        self.guard.close()
        self.reopen()

    @rule()
    def back_up(self) -> None:
        self.backup = {file: file.read_bytes() for file in (self.path, self.lock)}

    @rule(files=st.sampled_from(["guard", "lock", "both"]), running=st.booleans())
    def put_the_backup_back_in_place(self, files: str, running: bool) -> None:
        """The node may be running, and it may be killed right after."""
        if self.backup is not None:
            if not running:
                self.guard.close()
            for file in {"guard": [self.path], "lock": [self.lock], "both": [self.path, self.lock]}[files]:
                file.write_bytes(self.backup[file])
            if not running:
                self.reopen()

    @rule()
    def back_up_through_sqlite(self) -> None:
        with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(self.copy)) as target:
            source.backup(target)

    @rule()
    def put_the_backup_back_through_sqlite(self) -> None:
        if self.copy.exists():
            with closing(sqlite3.connect(self.copy)) as source, closing(sqlite3.connect(self.path)) as target:
                source.backup(target)

    @rule()
    def lose_the_file(self) -> None:
        self.guard.close()
        self.path.unlink()
        self.reopen()

    @rule()
    def export(self) -> None:
        self.exported = self.guard.export_marks()

    @rule()
    def import_(self) -> None:
        if self.exported is not None:
            try:
                self.guard.import_marks(self.exported)
            except FatalError as error:
                if error.code != "guard_put_back":
                    raise
                self.restart()

    def reopen(self) -> None:
        try:
            self.guard = open_guard(self.path, ADDRESS)
        except FatalError as error:
            if error.code != "guard_put_back":
                raise
            renew_guard(self.path, ADDRESS)
            self.guard = open_guard(self.path, ADDRESS)
        self.guard.enter(CONFIG, self.slot)

    @invariant()
    def no_round_has_two_reports(self) -> None:
        for round_number, signatures in getattr(self, "released", {}).items():
            assert len(signatures) == 1, f"round {round_number}"

    def teardown(self) -> None:
        if hasattr(self, "guard"):
            self.guard.close()
            self.folder.cleanup()


TestGuardUnderFire = GuardUnderFire.TestCase
TestGuardUnderFire.settings = settings(max_examples=25, stateful_step_count=30)
