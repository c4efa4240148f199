"""The guard never lets two reports of a round, or an old round, be signed."""

import json
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from attest.keys.guard import Guard, create_guard, guard_path, open_guard
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
        assert guard.sign_once(CONFIG, 5, REPORT, lambda: b"first") == b"first"
        assert guard.sign_once(CONFIG, 5, REPORT, never) == b"first"


def test_another_report_of_the_round_is_refused(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first")
        with refuses() as caught:
            guard.sign_once(CONFIG, 5, ANOTHER, never)
    assert "round 5" in caught.value.message


def test_a_round_below_the_mark_is_refused_even_for_a_report_signed_before(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first")
        guard.sign_once(CONFIG, 9, ANOTHER, lambda: b"second")
        for round_number in (4, 5, 8):
            with refuses():
                guard.sign_once(CONFIG, round_number, REPORT, never)


def test_what_was_signed_survives_a_restart(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first")
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 100) == 5
        assert guard.sign_once(CONFIG, 5, REPORT, never) == b"first"
        with refuses():
            guard.sign_once(CONFIG, 5, ANOTHER, never)


def test_a_signer_that_fails_leaves_no_mark(path: Path) -> None:
    def fail() -> bytes:
        raise OSError("the signing device is gone")

    with fresh(path) as guard:
        with pytest.raises(OSError, match="gone"):
            guard.sign_once(CONFIG, 5, REPORT, fail)
        assert guard.high_water_mark(CONFIG) == 0
        assert guard.sign_once(CONFIG, 5, ANOTHER, lambda: b"now") == b"now"


def test_the_mark_is_on_disk_before_the_signature_is_returned(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first")
        other = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        assert other.execute("SELECT round, report_hash, signature FROM marks").fetchall() == [(5, REPORT, b"first")]
        other.close()


def test_each_configuration_has_its_own_mark(path: Path) -> None:
    second = bytes([8]) * 32
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 50, REPORT, lambda: b"first")
        assert guard.high_water_mark(second) is None
        guard.enter(second, 100)
        assert guard.sign_once(second, 1, ANOTHER, lambda: b"second") == b"second"


def test_a_configuration_that_was_not_taken_up_is_not_signed_for(path: Path) -> None:
    create_guard(path, ADDRESS)
    with open_guard(path, ADDRESS) as guard, refuses():
        guard.sign_once(CONFIG, 5, REPORT, never)


def test_the_guard_of_a_new_key_starts_at_the_first_round(path: Path) -> None:
    create_guard(path, ADDRESS)
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 1_000) == 1
        with refuses():
            guard.sign_once(CONFIG, 0, REPORT, never)
        assert guard.sign_once(CONFIG, 1, REPORT, lambda: b"first") == b"first"


def test_a_missing_guard_starts_two_slots_ahead(path: Path) -> None:
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 100) == 102
        with refuses():
            guard.sign_once(CONFIG, 101, REPORT, never)
        assert guard.sign_once(CONFIG, 102, REPORT, lambda: b"first") == b"first"
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 102) == 102, "only once: what it signed since is known"
        assert guard.enter(bytes([8]) * 32, 50) == 52, "another configuration is as unknown as the first was"


def test_a_restored_guard_starts_two_slots_ahead(path: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first")
    shutil.copy(path, backup)
    with open_guard(path, ADDRESS) as guard:
        guard.enter(CONFIG, 6)
        guard.sign_once(CONFIG, 100, ANOTHER, lambda: b"second")
    # A restore of the directory brings a file of another inode.
    path.rename(tmp_path / "lost")
    shutil.copy(backup, path)
    path.chmod(0o600)
    open_guard(path, ADDRESS).close()
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 100) == 102
        for report in (REPORT, ANOTHER):
            with refuses():
                guard.sign_once(CONFIG, 100, report, never)
        assert guard.sign_once(CONFIG, 102, REPORT, lambda: b"third") == b"third"
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 102) == 102


def test_a_directory_moved_back_whole_is_noticed(path: Path, tmp_path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first")
    shutil.copytree(path.parent, tmp_path / "backup")
    shutil.rmtree(path.parent)
    shutil.copytree(tmp_path / "backup", path.parent)
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 100) == 102


def test_a_restored_guard_never_goes_below_its_own_mark(path: Path, tmp_path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 500, REPORT, lambda: b"first")
    shutil.copy(path, tmp_path / "copy")
    open_guard(path, ADDRESS).close()
    shutil.copy(tmp_path / "copy", path)
    with open_guard(path, ADDRESS) as guard:
        assert guard.enter(CONFIG, 100) == 501


OPEN = """
import sys
from pathlib import Path
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
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first")
        exported = guard.export_marks()
    document = json.loads(exported)
    assert document["address"] == ADDRESS
    assert document["marks"] == [{"config_digest": "0x" + CONFIG.hex(), "round": 5, "report_hash": "0x" + REPORT.hex()}]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    with open_guard(elsewhere / "guard", ADDRESS) as guard:
        guard.import_marks(exported)
        assert guard.enter(CONFIG, 1) == 6, "the file was not there before: nothing at or below the mark"
        with refuses():
            guard.sign_once(CONFIG, 5, ANOTHER, never)
        assert guard.sign_once(CONFIG, 6, ANOTHER, lambda: b"next") == b"next"


def test_an_import_only_raises_marks(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first")
        low = guard.export_marks()
        guard.sign_once(CONFIG, 9, REPORT, lambda: b"second")
        high = guard.export_marks()
        guard.import_marks(low)
        assert guard.high_water_mark(CONFIG) == 9
        guard.import_marks(high)
        assert guard.sign_once(CONFIG, 9, REPORT, never) == b"second"
        guard.import_marks(high.replace(b'"round":9', b'"round":12'))
        assert guard.high_water_mark(CONFIG) == 12
        assert guard.sign_once(CONFIG, 12, REPORT, lambda: b"again") == b"again", "the report that was signed there"
        with refuses():
            guard.sign_once(CONFIG, 12, ANOTHER, never)


def test_an_import_of_another_report_for_the_marked_round_blocks_the_round(path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first")
        other = guard.export_marks().replace(REPORT.hex().encode(), ANOTHER.hex().encode())
        guard.import_marks(other)
        for report in (REPORT, ANOTHER):
            with refuses():
                guard.sign_once(CONFIG, 5, report, never)


def test_a_mark_imported_into_a_complete_guard_binds_at_once(path: Path, tmp_path: Path) -> None:
    with fresh(path) as guard:
        guard.sign_once(CONFIG, 5, REPORT, lambda: b"first")
        exported = guard.export_marks()
    elsewhere = tmp_path / "elsewhere"
    create_guard(elsewhere / "guard", ADDRESS)
    with open_guard(elsewhere / "guard", ADDRESS) as guard:
        guard.import_marks(exported)
        assert guard.enter(CONFIG, 1) == 5
        assert guard.sign_once(CONFIG, 5, REPORT, lambda: b"again") == b"again"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b'{"format":"plimsoll-guard","version":2,"address":"0x' + b"ab" * 20 + b'","marks":[]}',
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
