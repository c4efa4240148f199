"""The guard never lets two reports of a round, or an old round, be signed."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from attest.keys import guard_file
from attest.keys.guard import Guard, create_guard, guard_path, open_guard, renew_guard
from riskschema.errors import FatalError, InvalidData, TransientError
from riskschema.units import Address
from tests.patience import HANG_SECONDS

ADDRESS = Address("0x" + "ab" * 20)
OTHER = Address("0x" + "cd" * 20)
CONFIG = bytes([7]) * 32
REPORT, ANOTHER = bytes([1]) * 32, bytes([2]) * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    return guard_path(folder / "attestation.json")


def never() -> bytes:
    raise AssertionError("signed again")


def fresh(path: Path) -> Guard:
    create_guard(path, ADDRESS)
    guard = open_guard(path, ADDRESS)
    guard.enter(CONFIG, 100)
    return guard


def refuses():
    return pytest.raises(TransientError, check=lambda error: error.code == "guard_refuses")


def stops(code: str):
    return pytest.raises(FatalError, check=lambda error: error.code == code)


def test_the_guard_lives_beside_its_keystore(path: Path) -> None:
    assert path.name == "attestation.json.guard"


def test_the_same_report_gets_the_same_signature_without_signing_again(path: Path) -> None:
    with fresh(path) as guard:
        assert guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=0) == b"first"
        assert guard.sign_once(CONFIG, 5, REPORT, never, parent_round=0) == b"first"


def test_another_report_of_the_round_is_refused(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=0)
        with refuses() as caught:
            guard.sign_once(CONFIG, 5, ANOTHER, never, parent_round=0)
    assert "round 5" in caught.value.message


def test_a_round_below_the_mark_is_refused_even_for_a_report_signed_before(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=0)
        guard.sign_once(CONFIG, 9, ANOTHER, lambda: b"second", parent_round=0)
        for round_number in (4, 5, 8):
            with refuses():
                guard.sign_once(CONFIG, round_number, REPORT, never, parent_round=0)


def test_what_was_signed_survives_a_restart(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=0)
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 100) == 5
        assert guard.sign_once(CONFIG, 5, REPORT, never, parent_round=0) == b"first"
        with refuses():
            guard.sign_once(CONFIG, 5, ANOTHER, never, parent_round=0)


def test_a_signer_that_fails_leaves_no_mark(path: Path) -> None:
    def fail() -> bytes:
        raise OSError("the signing device is gone")

    with fresh(path) as guard:
        with pytest.raises(OSError, match="gone"):
            guard.sign_once(CONFIG, 5, REPORT, fail, parent_round=0)
        assert guard.high_water_mark(CONFIG) == 0
        assert guard.sign_once(CONFIG, 5, ANOTHER, lambda: b"now", parent_round=0) == b"now"


def test_the_mark_is_on_disk_before_the_signature_is_returned(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=0)
        other = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        assert other.execute("SELECT round, report_hash, signature FROM marks").fetchall() == [(5, REPORT, b"first")]
        other.close()


def test_each_configuration_has_its_own_mark(path: Path) -> None:
    second = bytes([8]) * 32
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 50, REPORT, lambda: b"first", parent_round=0)
        assert guard.high_water_mark(second) is None
        guard.enter(second, 100)
        assert guard.sign_once(second, 1, ANOTHER, lambda: b"second", parent_round=0) == b"second"


def test_a_configuration_that_was_not_taken_up_is_not_signed_for(path: Path) -> None:
    create_guard(path, ADDRESS)
    with open_guard(path, ADDRESS) as guard, refuses():
        guard.sign_once(CONFIG, 5, REPORT, never, parent_round=0)


def test_the_guard_of_a_new_key_starts_at_the_first_round(path: Path) -> None:
    create_guard(path, ADDRESS)
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 1_000) == 1
        with refuses():
            guard.sign_once(CONFIG, 0, REPORT, never, parent_round=0)
        assert guard.sign_once(CONFIG, 1, REPORT, lambda: b"first", parent_round=0) == b"first"


def test_a_missing_guard_starts_two_slots_ahead(path: Path) -> None:
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 100) == 102
        with refuses():
            guard.sign_once(CONFIG, 101, REPORT, never, parent_round=0)
        assert guard.sign_once(CONFIG, 102, REPORT, lambda: b"first", parent_round=0) == b"first"
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 102) == 102, "only once: what it signed since is known"
        assert guard.enter(bytes([8]) * 32, 50) == 52, "another configuration is as unknown as the first was"


def copied_through_sqlite(source: Path, target: Path) -> None:
    """Copy as `sqlite3 source ".backup target"` does, and `.restore` back: into the file that is there."""
    with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as writing:
        reading.backup(writing)
    target.chmod(0o600)


def copied_to_another_inode(source: Path, target: Path) -> None:
    """Copy as a restore of a directory does: a new file takes the place of the old one."""
    draft = target.with_name("draft")
    shutil.copy2(source, draft)
    draft.rename(target)
    target.chmod(0o600)


def copied_in_place(source: Path, target: Path) -> None:
    inode = target.stat().st_ino if target.exists() else None
    shutil.copyfile(source, target)
    assert inode in (None, target.stat().st_ino)


COPIES = [copied_in_place, copied_through_sqlite, copied_to_another_inode]
Copy = Callable[[Path, Path], None]


def signed_beyond_a_backup(path: Path, backup: Path, copy: Copy) -> None:
    """Sign for round 101, take a copy, and sign for round 102."""
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 101, REPORT, lambda: b"first", parent_round=0)
        copy(path, backup)
        guard.sign_once(CONFIG, 102, REPORT, lambda: b"second", parent_round=0)


@pytest.mark.parametrize("copy", COPIES)
def test_a_guard_that_was_put_back_is_refused_until_it_is_renewed(path: Path, tmp_path: Path, copy: Copy) -> None:
    backup = tmp_path / "backup"
    signed_beyond_a_backup(path, backup, copy)
    copy(backup, path)
    for _ in range(2):
        with stops("guard_put_back") as caught:
            open_guard(path, ADDRESS)
    assert "keys renew-guard" in caught.value.message
    assert "restore" not in caught.value.message

    renew_guard(path, ADDRESS)
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 102) == 104
        for report in (REPORT, ANOTHER):
            with refuses():
                guard.sign_once(CONFIG, 102, report, never, parent_round=0)
        assert guard.sign_once(CONFIG, 104, REPORT, lambda: b"third", parent_round=0) == b"third"
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 104) == 104, "only once: what it signed since is known"


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_of_both_files_is_noticed_although_their_numbers_agree(path: Path, tmp_path: Path, copy: Copy) -> None:
    lock, backup, lock_backup = path.with_name(path.name + ".lock"), tmp_path / "guard", tmp_path / "lock"
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 101, REPORT, lambda: b"first", parent_round=0)
        copy(path, backup)
        shutil.copy2(lock, lock_backup)
        guard.sign_once(CONFIG, 102, REPORT, lambda: b"second", parent_round=0)
    copy(backup, path)
    shutil.copy2(lock_backup, lock)
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 102) == 104


@pytest.mark.parametrize("copy", [copied_in_place, copied_through_sqlite])
def test_a_guard_overwritten_while_the_node_runs_signs_nothing_more(path: Path, tmp_path: Path, copy: Copy) -> None:
    backup = tmp_path / "backup"
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 101, REPORT, lambda: b"first", parent_round=0)
        copy(path, backup)
        guard.sign_once(CONFIG, 102, REPORT, lambda: b"second", parent_round=0)
        copy(backup, path)
        with stops("guard_put_back"):
            guard.sign_once(CONFIG, 102, ANOTHER, lambda: b"another", parent_round=0)
    with stops("guard_put_back"):
        open_guard(path, ADDRESS)


def test_a_copy_of_what_is_there_changes_nothing(path: Path, tmp_path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=0)
    copied_through_sqlite(path, tmp_path / "backup")
    copied_through_sqlite(tmp_path / "backup", path)
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 5) == 5


def test_a_lost_lock_file_makes_the_marks_uncertain(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=0)
    path.with_name(path.name + ".lock").unlink()
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 5) == 7


def test_a_lock_file_with_a_number_that_no_guard_reaches_counts_as_damaged(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=0)
    path.with_name(path.name + ".lock").write_bytes(b"9" * 20 + b"\n")
    renew_guard(path, ADDRESS)
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 5) == 7


def test_a_guard_made_anew_beside_an_old_lock_file_does_not_pass_for_a_new_key(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=0)
    path.unlink()
    create_guard(path, ADDRESS)
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 5) == 7


def test_a_guard_of_the_first_format_goes_on(path: Path) -> None:
    """The tables as release 0.1 wrote them, and eight random bytes in the lock file."""
    path.with_name(path.name + ".lock").write_bytes(bytes(range(8)))
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(
            """
            CREATE TABLE guard (address TEXT NOT NULL, complete INTEGER NOT NULL, inode INTEGER NOT NULL,
                                touched INTEGER NOT NULL);
            CREATE TABLE marks (config_digest BLOB PRIMARY KEY, round INTEGER NOT NULL, report_hash BLOB,
                                signature BLOB, certain INTEGER NOT NULL) WITHOUT ROWID;
            PRAGMA user_version = 1;
            """
        )
        touched = path.with_name(path.name + ".lock").stat().st_ctime_ns
        database.execute("INSERT INTO guard VALUES (?, 1, ?, ?)", (ADDRESS, path.stat().st_ino, touched))
        database.execute("INSERT INTO marks VALUES (?, 5, ?, ?, 1)", (CONFIG, REPORT, b"first"))
    path.chmod(0o600)
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 5) == 5
        assert guard.sign_once(CONFIG, 5, REPORT, never, parent_round=0) == b"first"
        assert guard.sign_once(CONFIG, 6, REPORT, lambda: b"second", parent_round=0) == b"second"
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 6) == 6


@pytest.mark.parametrize("version", [0, 4, 77])
def test_a_guard_of_another_format_is_refused_and_left_alone(path: Path, version: int) -> None:
    fresh(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with stops("guard_unreadable") as caught:
        open_guard(path, ADDRESS)
    assert f"format 3 but of {version}" in caught.value.message
    assert path.read_bytes() == before


def test_a_directory_moved_back_whole_is_noticed(path: Path, tmp_path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=0)
    shutil.copytree(path.parent, tmp_path / "backup")
    shutil.rmtree(path.parent)
    shutil.copytree(tmp_path / "backup", path.parent)
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 100) == 102


def test_a_restored_guard_never_goes_below_its_own_mark(path: Path, tmp_path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 500, REPORT, lambda: b"first", parent_round=0)
    copied_to_another_inode(path, tmp_path / "copy")
    copied_to_another_inode(tmp_path / "copy", path)
    renew_guard(path, ADDRESS)
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 100) == 501


OPEN = """
import sys
from pathlib import Path
from attest.keys import guard_file
from attest.keys.guard import open_guard
from riskschema.errors import FatalError
try:
    open_guard(Path(sys.argv[1]), sys.argv[2]).close()
    print("opened")
except FatalError as error:
    print(error.code)
"""


def open_elsewhere(path: Path) -> str:
    arguments = [sys.executable, "-c", OPEN, str(path), ADDRESS]
    return subprocess.run(arguments, check=True, timeout=HANG_SECONDS, capture_output=True, text=True).stdout.strip()


def test_a_second_process_with_the_same_key_refuses_to_start(path: Path) -> None:
    with fresh(path):
        assert open_elsewhere(path) == "guard_locked"
    assert open_elsewhere(path) == "opened"


def test_the_same_process_cannot_open_it_twice_either(path: Path) -> None:
    with fresh(path):
        with stops("guard_locked"):
            open_guard(path, ADDRESS)
        with stops("guard_locked"):
            create_guard(path, ADDRESS)
    open_guard(path, ADDRESS).close()


def test_a_guard_is_never_replaced(path: Path) -> None:
    fresh(path).close()
    with stops("guard_unreadable"):
        create_guard(path, ADDRESS)


def test_the_guard_of_another_key_is_refused(path: Path) -> None:
    fresh(path).close()
    with stops("guard_unreadable") as caught:
        open_guard(path, OTHER)
    assert ADDRESS in caught.value.message
    open_guard(path, ADDRESS).close()


@pytest.mark.parametrize("content", [b"", b"not a database" * 100])
def test_a_damaged_guard_stops_the_node(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with stops("guard_unreadable"):
        open_guard(path, ADDRESS)


def test_a_guard_without_its_tables_stops_the_node(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    connection.execute("CREATE TABLE guard (address TEXT, complete INTEGER, inode INTEGER)")
    connection.commit()
    connection.close()
    path.chmod(0o600)
    with stops("guard_unreadable"):
        open_guard(path, ADDRESS)


def test_guard_files_are_for_their_owner_alone(path: Path) -> None:
    fresh(path).close()
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    path.chmod(0o644)
    with stops("key_unreadable"):
        open_guard(path, ADDRESS)
    path.chmod(0o600)
    path.parent.chmod(0o755)
    with stops("key_unreadable"):
        open_guard(path, ADDRESS)


def test_an_unfinished_draft_of_a_crash_does_not_stand_in_the_way(path: Path) -> None:
    path.with_name(path.name + ".draft").write_bytes(b"half")
    with fresh(path) as guard:
        assert guard.high_water_mark(CONFIG) == 0


def test_an_export_carries_the_marks_to_another_machine(path: Path, tmp_path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=4)
        exported = guard.export_marks()
    document = json.loads(exported)
    assert document["address"] == ADDRESS
    assert document["marks"] == [
        {"config_digest": "0x" + CONFIG.hex(), "round": 5, "report_hash": "0x" + REPORT.hex(), "parent_round": 4}
    ]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    with open_guard(elsewhere / "guard", ADDRESS) as guard:
        guard.import_marks(exported)
        assert guard.enter(CONFIG, 1) == 6, "the file was not there before: nothing at or below the mark"
        with refuses():
            guard.sign_once(CONFIG, 5, ANOTHER, never, parent_round=4)
        assert guard.sign_once(CONFIG, 6, ANOTHER, lambda: b"next", parent_round=4) == b"next"


def test_an_import_only_raises_marks(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=0)
        low = guard.export_marks()
        guard.sign_once(CONFIG, 9, REPORT, lambda: b"second", parent_round=0)
        high = guard.export_marks()
        guard.import_marks(low)
        assert guard.high_water_mark(CONFIG) == 9
        guard.import_marks(high)
        assert guard.sign_once(CONFIG, 9, REPORT, never, parent_round=0) == b"second"
        guard.import_marks(high.replace(b'"round":9', b'"round":12'))
        assert guard.high_water_mark(CONFIG) == 12
        assert guard.sign_once(CONFIG, 12, REPORT, lambda: b"again", parent_round=0) == b"again", (
            "the report that was signed there"
        )
        with refuses():
            guard.sign_once(CONFIG, 12, ANOTHER, never, parent_round=0)


def test_an_import_of_another_report_for_the_marked_round_blocks_the_round(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=0)
        other = guard.export_marks().replace(REPORT.hex().encode(), ANOTHER.hex().encode())
        guard.import_marks(other)
        for report in (REPORT, ANOTHER):
            with refuses():
                guard.sign_once(CONFIG, 5, report, never, parent_round=0)


def test_an_import_of_an_older_round_raises_the_parent_that_it_knows_of(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    create_guard(elsewhere / "guard", ADDRESS)
    with open_guard(elsewhere / "guard", ADDRESS) as guard:
        guard.enter(CONFIG, 1)
        guard.sign_once(CONFIG, 9, ANOTHER, lambda: b"there", parent_round=8)
        exported = guard.export_marks()
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 10, REPORT, lambda: b"here", parent_round=5)
        guard.import_marks(exported)
        assert (guard.high_water_mark(CONFIG), guard.parent_round(CONFIG)) == (10, 8)
        assert guard.must_listen(CONFIG)


def test_a_mark_imported_into_a_complete_guard_makes_it_listen(path: Path, tmp_path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=0)
        exported = guard.export_marks()
    elsewhere = tmp_path / "elsewhere"
    create_guard(elsewhere / "guard", ADDRESS)
    with open_guard(elsewhere / "guard", ADDRESS) as guard:
        assert not guard.must_listen(CONFIG)
        guard.import_marks(exported)
        assert guard.must_listen(CONFIG), "where it came from, more may have been signed since"
        assert guard.enter(CONFIG, 9, parent_round=7) == 11
        assert (guard.must_listen(CONFIG), guard.parent_round(CONFIG)) == (False, 7)


def test_no_report_is_signed_that_builds_on_an_older_one_than_the_last(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first", parent_round=4)
        with refuses():
            guard.sign_once(CONFIG, 7, ANOTHER, never, parent_round=3)
        assert guard.sign_once(CONFIG, 7, ANOTHER, lambda: b"second", parent_round=4) == b"second"
    with open_guard(path, ADDRESS) as guard:
        guard.enter(CONFIG, 8)
        assert guard.parent_round(CONFIG) == 4
        with refuses():
            guard.sign_once(CONFIG, 8, REPORT, never, parent_round=3)
        assert guard.sign_once(CONFIG, 7, ANOTHER, never, parent_round=4) == b"second"


def lost(path: Path) -> None:
    path.unlink()


def renewed(path: Path) -> None:
    renew_guard(path, ADDRESS)


@pytest.mark.parametrize("forget", [lost, renewed])
def test_a_guard_that_forgot_takes_the_highest_certificate_for_its_parent(
    path: Path, forget: Callable[[Path], None]
) -> None:
    fresh(path).close()
    forget(path)
    with open_guard(path, ADDRESS) as guard:
        assert guard.must_listen(CONFIG)
        assert guard.enter(CONFIG, 20, parent_round=18) == 22
        assert guard.parent_round(CONFIG) == 18
        with refuses():
            guard.sign_once(CONFIG, 22, REPORT, never, parent_round=17)


def test_one_message_of_a_kind_and_round_is_let_out_and_passes_again(path: Path) -> None:
    other = bytes([8]) * 32
    with fresh(path) as guard:
        guard.say_once(CONFIG, 1, 5, REPORT)
        guard.say_once(CONFIG, 2, 5, ANOTHER)
        guard.enter(other, 5)
        guard.say_once(other, 1, 5, ANOTHER)
    with open_guard(path, ADDRESS) as guard:
        guard.enter(CONFIG, 5)
        guard.say_once(CONFIG, 1, 5, REPORT)
        for kind, digest in ((1, ANOTHER), (2, REPORT)):
            with refuses():
                guard.say_once(CONFIG, kind, 5, digest)
        guard.say_once(CONFIG, 1, 4, ANOTHER)


def test_after_a_wrong_clock_messages_of_the_right_rounds_are_let_out(path: Path) -> None:
    """A mark at the highest round alone would keep the identity silent until the year of the wrong clock."""
    with fresh(path) as guard:
        guard.say_once(CONFIG, 1, 100_000, REPORT)
        guard.say_once(CONFIG, 1, 5, REPORT)
        with refuses():
            guard.say_once(CONFIG, 1, 100_000, ANOTHER)


def test_a_guard_that_forgot_says_nothing_in_the_rounds_that_it_may_have_spoken_in(path: Path) -> None:
    fresh(path).close()
    path.unlink()
    with open_guard(path, ADDRESS) as guard:
        with refuses():
            guard.say_once(CONFIG, 1, 30, REPORT)
        guard.enter(CONFIG, 20)
        with refuses():
            guard.say_once(CONFIG, 1, 21, REPORT)
        guard.say_once(CONFIG, 1, 22, REPORT)


def test_digests_of_messages_are_kept_within_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_file, "KEPT_MESSAGES", 3)
    with fresh(path) as guard:
        for round_number in range(1, 6):
            guard.say_once(CONFIG, 1, round_number, REPORT)
        for round_number in (3, 4, 5):
            with refuses():
                guard.say_once(CONFIG, 1, round_number, ANOTHER)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT COUNT(*) FROM said").fetchone() == (3,)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b'{"format":"plimsoll-guard","version":3,"address":"0x' + b"ab" * 20 + b'","marks":[]}',
        b'{"format":"plimsoll-guard","version":1,"address":"0x' + b"cd" * 20 + b'","marks":[]}',
        b'{"format":"plimsoll-guard","version":1,"address":"0x' + b"ab" * 20 + b'","marks":[{"round":-1}]}',
    ],
)
def test_an_import_of_anything_else_is_refused(path: Path, document: bytes) -> None:
    with fresh(path) as guard, pytest.raises(InvalidData):
        guard.import_marks(document)


def test_the_lock_ends_with_the_process_however_it_ends(path: Path) -> None:
    code = "import os, sys; from attest.keys.guard import open_guard; from pathlib import Path;"
    code += "open_guard(Path(sys.argv[1]), sys.argv[2]); os.kill(os.getpid(), 9)"
    child = subprocess.run([sys.executable, "-c", code, str(path), ADDRESS], check=False, timeout=HANG_SECONDS)
    assert child.returncode == -9
    open_guard(path, ADDRESS).close()


def test_a_lock_file_that_cannot_be_opened_is_named(path: Path) -> None:
    fresh(path).close()
    lock = path.with_name(path.name + ".lock")
    lock.unlink()
    lock.mkdir()
    with stops("guard_unwritable") as caught:
        open_guard(path, ADDRESS)
    assert str(lock) in caught.value.message


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
@pytest.mark.parametrize("name", ["", ".lock"])
def test_a_file_that_is_read_only_is_named(path: Path, name: str) -> None:
    fresh(path).close()
    path.with_name(path.name + name).chmod(0o400)
    with stops("guard_unwritable") as caught:
        open_guard(path, ADDRESS)
    assert path.name + name in caught.value.message


FULL = """
import resource, signal, sys
from pathlib import Path
from attest.keys import guard_file
from attest.keys.guard import open_guard
from riskschema.errors import TransientError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
signs = []
def sign():
    signs.append(b"signature")
    return signs[-1]

with open_guard(Path(sys.argv[1]), sys.argv[2]) as guard:
    guard.enter(bytes([7]) * 32, 0)
    room = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), room[1]))
    try:
        print(guard.sign_once(bytes([7]) * 32, 3, bytes([1]) * 32, sign, parent_round=0))
    except TransientError as error:
        print(error.code, error.message)
    resource.setrlimit(resource.RLIMIT_FSIZE, room)
    try:
        print(guard.sign_once(bytes([7]) * 32, 3, bytes([2]) * 32, lambda: b"another", parent_round=0))
    except TransientError as error:
        print(error.code)
    print(guard.sign_once(bytes([7]) * 32, 4, bytes([2]) * 32, lambda: b"next", parent_round=0))
"""


@pytest.mark.parametrize("room", [0, 600, 4096])
def test_a_disk_without_room_costs_the_round_and_no_more(path: Path, room: int) -> None:
    """A limit on the size of files refuses what a full disk refuses."""
    fresh(path).close()
    arguments = [sys.executable, "-c", FULL, str(path), ADDRESS, str(room)]
    said = subprocess.run(
        arguments, check=True, timeout=HANG_SECONDS, capture_output=True, text=True
    ).stdout.splitlines()
    assert said[0].startswith("guard_unwritable")
    assert "make room on the disk" in said[0]
    assert said[1] == "b'another'", "no mark was left, and no signature came out"
    assert said[2] == "b'next'"
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 4) == 4


def test_a_lock_file_without_room_holds_the_signature_back(path: Path) -> None:
    """The mark is on disk then: the round stays ruled out for any other report."""
    with fresh(path) as guard:
        full = os.open("/dev/full", os.O_RDWR)
        lock = guard._file._lock
        kept, lock._descriptor = lock._descriptor, full
        for sign in (lambda: b"first", never):
            with pytest.raises(TransientError, check=lambda error: error.code == "guard_unwritable"):
                guard.sign_once(CONFIG, 3, REPORT, sign, parent_round=0)
        lock._descriptor = kept
        os.close(full)
        with refuses():
            guard.sign_once(CONFIG, 3, ANOTHER, never, parent_round=0)
        assert guard.sign_once(CONFIG, 3, REPORT, never, parent_round=0) == b"first"
        assert guard.sign_once(CONFIG, 4, ANOTHER, lambda: b"second", parent_round=0) == b"second"
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 4) == 4
