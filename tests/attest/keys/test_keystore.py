"""Key files: what is written, who may read it, and what is refused."""

import json
import os
import pickle
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from eth_account import Account

from attest.encoding.keccak import keccak256
from attest.keys.identity import verify_identity
from attest.keys.keystore import (
    SCRYPT_COST,
    LocalSigner,
    create_identity,
    create_keystore,
    import_key,
    open_identity,
    open_keystore,
    read_password,
)
from riskschema.errors import FatalError

FAST = 2
KEY = bytes(range(1, 33))
DIGEST = bytes(range(32))


def prompt() -> str:
    return "correct horse"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    private = tmp_path / "keys"
    private.mkdir(mode=0o700)
    return private


@pytest.fixture
def password_file(folder: Path) -> Path:
    path = folder / "password"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    return path


def refused(code: str = "key_unreadable"):
    return pytest.raises(FatalError, check=lambda error: error.code == code)


def test_a_created_key_opens_again_with_its_password(folder: Path, password_file: Path) -> None:
    address = create_keystore(folder / "key.json", password_file, scrypt_cost=FAST)
    assert open_keystore(folder / "key.json", password_file).address == address
    assert open_keystore(folder / "key.json", prompt).address == address


def test_two_created_keys_differ(folder: Path) -> None:
    first = create_keystore(folder / "a.json", prompt, scrypt_cost=FAST)
    assert first != create_keystore(folder / "b.json", prompt, scrypt_cost=FAST)


def test_the_file_is_a_keystore_v3_that_other_software_opens(folder: Path) -> None:
    address = import_key(folder / "key.json", prompt, KEY, scrypt_cost=FAST)
    document = json.loads((folder / "key.json").read_bytes())
    assert document["version"] == 3
    assert document["crypto"]["kdf"] == "scrypt"
    assert bytes(Account.decrypt(document, prompt())) == KEY
    assert Account.from_key(KEY).address.lower() == address


def test_production_scrypt_costs_what_the_standard_profile_asks() -> None:
    assert SCRYPT_COST == 262_144


def test_files_are_for_their_owner_alone(folder: Path) -> None:
    deep = folder / "new" / "key.json"
    create_keystore(deep, prompt, scrypt_cost=FAST)
    create_identity(deep.with_name("identity.pem"), prompt)
    assert stat.S_IMODE(deep.stat().st_mode) == 0o600
    assert stat.S_IMODE(deep.with_name("identity.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE(deep.parent.stat().st_mode) == 0o700


def test_an_existing_file_is_never_overwritten_and_no_draft_stays(folder: Path) -> None:
    create_keystore(folder / "key.json", prompt, scrypt_cost=FAST)
    before = (folder / "key.json").read_bytes()
    with refused() as caught:
        create_keystore(folder / "key.json", prompt, scrypt_cost=FAST)
    assert "exists already" in caught.value.message
    assert (folder / "key.json").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["key.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_file_open_to_others_is_refused(folder: Path, mode: int) -> None:
    create_keystore(folder / "key.json", prompt, scrypt_cost=FAST)
    (folder / "key.json").chmod(mode)
    with refused() as caught:
        open_keystore(folder / "key.json", prompt)
    assert "chmod 600" in caught.value.message
    assert str(folder / "key.json") in caught.value.message


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_key_directory_open_to_others_is_refused(folder: Path, mode: int) -> None:
    create_keystore(folder / "key.json", prompt, scrypt_cost=FAST)
    create_identity(folder / "identity.pem", prompt)
    folder.chmod(mode)
    for attempt in (
        lambda: open_keystore(folder / "key.json", prompt),
        lambda: open_identity(folder / "identity.pem", prompt),
        lambda: create_keystore(folder / "other.json", prompt, scrypt_cost=FAST),
    ):
        with refused() as caught:
            attempt()
        assert "chmod 700" in caught.value.message


def test_a_password_file_open_to_others_is_refused(password_file: Path) -> None:
    password_file.chmod(0o644)
    with refused():
        read_password(password_file)


def test_a_password_file_loses_its_line_end_only(password_file: Path) -> None:
    password_file.write_bytes(b" two words \r\n")
    assert read_password(password_file) == " two words "


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_password_file_without_a_password_is_refused(password_file: Path, content: bytes) -> None:
    password_file.write_bytes(content)
    with refused():
        read_password(password_file)


def test_an_empty_answer_to_the_prompt_is_refused() -> None:
    with refused():
        read_password(lambda: "")


def test_a_wrong_password_is_named_as_such(folder: Path) -> None:
    create_keystore(folder / "key.json", prompt, scrypt_cost=FAST)
    create_identity(folder / "identity.pem", prompt)
    with refused() as caught:
        open_keystore(folder / "key.json", lambda: "wrong")
    assert "password" in caught.value.message
    with refused():
        open_identity(folder / "identity.pem", lambda: "wrong")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"version": 1}', b'{"version": 3}', b'{"version": 3, "crypto": {}}', b"[" * 50_000, b"\xff"],
)
def test_a_file_that_is_no_keystore_is_refused(folder: Path, content: bytes) -> None:
    path = folder / "key.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with refused():
        open_keystore(path, prompt)


def test_a_keystore_that_names_another_address_is_refused(folder: Path) -> None:
    path = folder / "key.json"
    import_key(path, prompt, KEY, scrypt_cost=FAST)
    document = json.loads(path.read_bytes())
    document["address"] = "00" * 20
    path.write_text(json.dumps(document))
    with refused() as caught:
        open_keystore(path, prompt)
    assert "names" in caught.value.message


def test_a_keystore_that_holds_no_valid_key_is_refused(folder: Path) -> None:
    path = folder / "key.json"
    import_key(path, prompt, KEY, scrypt_cost=FAST)
    document = json.loads(path.read_bytes())
    # With the key-derivation output known, any plaintext can be encrypted: here the number zero.
    from hashlib import scrypt  # noqa: PLC0415

    from Crypto.Cipher import AES  # noqa: PLC0415

    crypto = document["crypto"]
    parameters = crypto["kdfparams"]
    derived = scrypt(
        prompt().encode(),
        salt=bytes.fromhex(parameters["salt"]),
        n=parameters["n"],
        r=parameters["r"],
        p=parameters["p"],
        dklen=32,
    )
    counter = int(crypto["cipherparams"]["iv"], 16)
    cipher = AES.new(derived[:16], AES.MODE_CTR, initial_value=counter, nonce=b"")
    crypto["ciphertext"] = cipher.encrypt(bytes(32)).hex()
    crypto["mac"] = keccak256(derived[16:] + bytes.fromhex(crypto["ciphertext"])).hex()
    path.write_text(json.dumps(document))
    with refused() as caught:
        open_keystore(path, prompt)
    assert "secp256k1" in caught.value.message


@pytest.mark.parametrize("key", [b"", bytes(32), b"\xff" * 32, bytes(31), bytes(33)])
def test_bytes_that_are_no_key_are_not_written(folder: Path, key: bytes) -> None:
    with refused():
        import_key(folder / "key.json", prompt, key, scrypt_cost=FAST)
    assert not (folder / "key.json").exists()


def test_a_missing_file_a_directory_and_a_huge_file_are_refused(folder: Path) -> None:
    with refused():
        open_keystore(folder / "absent.json", prompt)
    (folder / "directory").mkdir(mode=0o700)
    with refused():
        open_keystore(folder / "directory", prompt)
    huge = folder / "huge.json"
    huge.write_bytes(b" " * 70_000)
    huge.chmod(0o600)
    with refused() as caught:
        open_keystore(huge, prompt)
    assert "larger" in caught.value.message


def test_a_named_pipe_is_refused_at_once(folder: Path) -> None:
    os.mkfifo(folder / "pipe", 0o600)
    with refused():
        read_password(folder / "pipe")


def test_signatures_are_low_s_deterministic_and_by_the_address() -> None:
    signer = LocalSigner(KEY)
    signature = signer.sign(DIGEST)
    assert len(signature) == 65
    assert signature[64] in (27, 28)
    assert int.from_bytes(signature[32:64], "big") <= 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
    assert signature == signer.sign(DIGEST)
    assert Account._recover_hash(DIGEST, signature=signature).lower() == signer.address


def test_an_identity_signs_what_its_public_key_verifies(folder: Path) -> None:
    public_key = create_identity(folder / "identity.pem", prompt)
    identity = open_identity(folder / "identity.pem", prompt)
    assert identity.public_key == public_key
    signature = identity.sign(b"message")
    assert verify_identity(public_key, b"message", signature)
    assert not verify_identity(public_key, b"another", signature)
    assert not verify_identity(bytes(32), b"message", signature)
    assert not verify_identity(b"short", b"message", signature)
    assert not verify_identity(public_key, b"message", signature[:-1])


def test_an_identity_file_is_encrypted_pkcs8(folder: Path) -> None:
    create_identity(folder / "identity.pem", prompt)
    assert (folder / "identity.pem").read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")


def test_an_identity_file_with_another_kind_of_key_is_refused(folder: Path) -> None:
    other = ec.generate_private_key(ec.SECP256K1())
    path = folder / "identity.pem"
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(prompt().encode())))
    path.chmod(0o600)
    with refused() as caught:
        open_identity(path, prompt)
    assert "Ed25519" in caught.value.message


def test_an_unencrypted_identity_file_is_refused(folder: Path) -> None:
    path = folder / "identity.pem"
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")
    path.chmod(0o600)
    with refused():
        open_identity(path, prompt)


def test_secrets_show_in_no_printed_form(folder: Path) -> None:
    create_identity(folder / "identity.pem", prompt)
    identity, signer = open_identity(folder / "identity.pem", prompt), LocalSigner(KEY)
    assert KEY.hex() not in f"{signer!r} {signer}"
    assert repr(signer) == f"LocalSigner(address={signer.address})"
    assert identity.public_key.hex() in repr(identity)
    for secret in (identity, signer):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(secret)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"dklen": 2**40}, "dklen"),
        ({"dklen": 16}, "dklen"),
        ({"n": 2**40}, "n, r, p"),
        ({"r": 2**30}, "n, r, p"),
        ({"p": 2**30}, "n, r, p"),
        ({"n": 0}, "kdfparams.n"),
        ({"n": "2"}, "kdfparams.n"),
        ({"p": None}, "kdfparams.p"),
    ],
)
def test_a_keystore_that_asks_for_too_much_is_refused_before_any_work(
    folder: Path, changed: dict[str, object], named: str
) -> None:
    path = folder / "key.json"
    create_keystore(path, prompt, scrypt_cost=FAST)
    document = json.loads(path.read_bytes())
    document["crypto"]["kdfparams"] |= changed
    path.write_text(json.dumps(document))
    asked: list[str] = []

    def password() -> str:
        asked.append("asked")
        return "correct horse"

    with refused() as caught:
        open_keystore(path, password)
    assert named in caught.value.message
    assert asked == []


@pytest.mark.parametrize("rounds", [10**12, 0, "262144"])
def test_a_keystore_with_too_many_rounds_of_pbkdf2_is_refused(folder: Path, rounds: object) -> None:
    path = folder / "key.json"
    document = Account.encrypt(KEY, "correct horse", kdf="pbkdf2", iterations=10)
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    assert open_keystore(path, prompt).address == LocalSigner(KEY).address
    document["crypto"]["kdfparams"]["c"] = rounds
    path.write_text(json.dumps(document))
    with refused() as caught:
        open_keystore(path, prompt)
    assert "crypto.kdfparams.c" in caught.value.message
