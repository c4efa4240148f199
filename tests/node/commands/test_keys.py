"""`plimsoll keys`: made once, shown without a password, and the record of what they signed moves with them."""

import json
import shutil
import stat
from pathlib import Path

import pytest

from attest.keys.guard import guard_path, open_guard
from attest.keys.keystore import create_keystore
from node.key_files import ATTESTATION, read_public_keys
from tests.node.commands.conftest import Plimsoll
from tests.node.local_node import write_cheap_keys

DIGEST = b"\x11" * 32


@pytest.fixture
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys whose password is quickly tried."""
    monkeypatch.setattr("node.key_files.create_keystore", lambda path, word: create_keystore(path, word, scrypt_cost=2))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A directory of keys."""
    write_cheap_keys(tmp_path / "keys")
    return tmp_path / "keys"


def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    return path


def sign(keys: Path, round_number: int) -> None:
    with open_guard(guard_path(keys / ATTESTATION), read_public_keys(keys).attestation) as guard:
        guard.enter(DIGEST, round_number)
        guard.sign_once(DIGEST, round_number, b"\x22" * 32, lambda: b"\x33" * 65, parent_round=0)


def mark(keys: Path) -> int | None:
    with open_guard(guard_path(keys / ATTESTATION), read_public_keys(keys).attestation) as guard:
        return guard.high_water_mark(DIGEST)


@pytest.mark.usefixtures("cheap_scrypt")
def test_keys_are_made_private_and_shown_without_the_password(plimsoll: Plimsoll, tmp_path: Path) -> None:
    directory = tmp_path / "operator" / "keys"
    made = plimsoll(
        "keys", "create", "--directory", directory, "--password-file", password(tmp_path), "--json"
    ).document
    assert set(made) == {"attestation", "identity", "transmitter"}
    assert plimsoll("keys", "show", "--directory", directory, "--json").document == made
    assert made["attestation"] in plimsoll("keys", "show", "--directory", directory).output
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.usefixtures("cheap_scrypt")
def test_keys_are_never_overwritten(plimsoll: Plimsoll, tmp_path: Path, keys: Path) -> None:
    before = {path: path.read_bytes() for path in keys.iterdir()}
    message = plimsoll("keys", "create", "--directory", keys, "--password-file", password(tmp_path)).refused()
    assert "keys are never overwritten" in message
    assert {path: path.read_bytes() for path in keys.iterdir()} == before


@pytest.mark.parametrize(
    ("content", "mode", "names"),
    [(None, 0o600, "No such file"), ("word", 0o644, "open to others"), ("", 0o600, "is empty")],
)
def test_a_password_file_that_cannot_be_used_makes_no_keys(
    plimsoll: Plimsoll, tmp_path: Path, content: str | None, mode: int, names: str
) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    message = plimsoll("keys", "create", "--directory", tmp_path / "keys", "--password-file", path).refused()
    assert names in message
    assert not (tmp_path / "keys").exists()


def test_a_directory_that_is_a_file_is_refused(plimsoll: Plimsoll, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    message = plimsoll(
        "keys", "create", "--directory", tmp_path / "keys", "--password-file", password(tmp_path)
    ).refused()
    assert "cannot be made a directory" in message


def test_a_directory_without_keys_says_how_to_make_them(plimsoll: Plimsoll, tmp_path: Path) -> None:
    assert "make keys with `plimsoll keys create`" in plimsoll("keys", "show", "--directory", tmp_path).refused()


def test_damaged_public_keys_are_refused(plimsoll: Plimsoll, keys: Path) -> None:
    (keys / "public.json").write_text("{}")
    assert "is damaged" in plimsoll("keys", "show", "--directory", keys).refused()


def test_the_marks_of_a_key_move_to_another_machine(plimsoll: Plimsoll, keys: Path, tmp_path: Path) -> None:
    sign(keys, 7)
    exported = plimsoll("keys", "export-guard", "--directory", keys)
    assert exported.document["marks"][0]["round"] == 7
    moved = tmp_path / "moved"
    shutil.copytree(keys, moved)
    moved.chmod(0o700)
    guard_path(moved / ATTESTATION).unlink()
    (tmp_path / "guard.json").write_text(exported.output)
    assert "taken over" in plimsoll("keys", "import-guard", "--directory", moved, tmp_path / "guard.json").messages
    assert mark(moved) == 7


def test_marks_are_never_lowered(plimsoll: Plimsoll, keys: Path) -> None:
    sign(keys, 7)
    early = plimsoll("keys", "export-guard", "--directory", keys).output.encode()
    sign(keys, 9)
    assert plimsoll("keys", "import-guard", "--directory", keys, "-", stdin=early).status == 0
    assert mark(keys) == 9


def test_marks_of_another_key_are_refused(plimsoll: Plimsoll, keys: Path, tmp_path: Path) -> None:
    write_cheap_keys(tmp_path / "other")
    exported = plimsoll("keys", "export-guard", "--directory", tmp_path / "other").output.encode()
    assert (
        "guard export: of key" in plimsoll("keys", "import-guard", "--directory", keys, "-", stdin=exported).refused()
    )


@pytest.mark.parametrize("content", [b"", b"{}", b"nonsense", json.dumps({"format": "other"}).encode()])
def test_what_is_no_export_is_refused(plimsoll: Plimsoll, keys: Path, content: bytes) -> None:
    assert "guard export" in plimsoll("keys", "import-guard", "--directory", keys, "-", stdin=content).refused()


def test_a_guard_that_a_node_holds_is_refused(plimsoll: Plimsoll, keys: Path) -> None:
    with open_guard(guard_path(keys / ATTESTATION), read_public_keys(keys).attestation):
        message = plimsoll("keys", "export-guard", "--directory", keys).refused()
    assert message.endswith("[guard_locked]")


def test_a_guard_that_is_missing_is_not_taken_for_an_empty_one(plimsoll: Plimsoll, keys: Path) -> None:
    guard_path(keys / ATTESTATION).unlink()
    assert "does not know what the key signed" in plimsoll("keys", "export-guard", "--directory", keys).refused()
    assert not guard_path(keys / ATTESTATION).exists()


def test_a_guard_that_was_put_back_is_taken_up_by_a_person(plimsoll: Plimsoll, keys: Path) -> None:
    guard = guard_path(keys / ATTESTATION)
    sign(keys, 5)
    copy = guard.read_bytes()
    sign(keys, 9)
    guard.write_bytes(copy)
    assert plimsoll("keys", "export-guard", "--directory", keys).refused().endswith("[guard_put_back]")
    refused = plimsoll("keys", "renew-guard", "--directory", keys, stdin=b"n\n")
    assert refused.status == 130
    assert plimsoll("keys", "export-guard", "--directory", keys).refused().endswith("[guard_put_back]")
    assert plimsoll("keys", "renew-guard", "--directory", keys, stdin=b"y\n").status == 0
    assert mark(keys) == 5, "what it knows is kept; the next start rules out what it does not"
    with open_guard(guard, read_public_keys(keys).attestation) as opened:
        assert opened.enter(DIGEST, 9) == 11
