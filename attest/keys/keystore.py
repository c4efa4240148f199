"""Key files: secp256k1 keys as keystore v3, Ed25519 identities as encrypted PKCS#8; all 0600.

A password comes from a file of its own (0600) or from a function that asks for it, never from an argument of a
command or the environment, where other processes can see it.
"""

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import coincurve
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from attest.formats.eip712 import CURVE_ORDER, address_of, sign_digest
from attest.keys.identity import IdentityKey
from attest.keys.secret_files import check_private, key_unreadable, read_secret, write_secret
from riskschema.errors import FatalError
from riskschema.recursion import recursion_limit_kept
from riskschema.units import Address

if TYPE_CHECKING:
    from eth_account import Account

SCRYPT_COST = 2**18
"""scrypt's n of the keystore v3 standard profile; tests use less."""

_MAX_SCRYPT_BYTES = 2**29
"""Most memory that a keystore may ask for, 128·n·r: twice the standard profile's."""
_MAX_SCRYPT_WORK = 2**25
"""Most work, n·r·p: sixteen times the standard profile's, some ten seconds."""
_MAX_PBKDF2_ROUNDS = 10_000_000
_KEY_BYTES = 32

PasswordSource = Path | Callable[[], str]


class LocalSigner:
    """A secp256k1 key in this process; printing it shows its address only."""

    __slots__ = ("_private_key", "address")

    def __init__(self, private_key: bytes) -> None:
        self._private_key = private_key
        public_key = coincurve.PrivateKey(private_key).public_key
        self.address: Address = address_of(public_key.format(compressed=False))

    def sign(self, digest: bytes) -> bytes:
        """Return r ‖ s ‖ v (65 bytes, low s, v 27 or 28) over a 32-byte digest; equal digests give equal bytes."""
        return sign_digest(digest, self._private_key)

    def __repr__(self) -> str:
        return f"LocalSigner(address={self.address})"

    def __reduce__(self) -> str:
        raise TypeError("a signer is not pickled")


def create_keystore(path: Path, password: PasswordSource, *, scrypt_cost: int = SCRYPT_COST) -> Address:
    """Make a new key and its file; return the address.

    Raises:
        FatalError: the file exists, its directory is open to others, or the password cannot be read.
    """
    while not _is_private_key(candidate := secrets.token_bytes(32)):
        continue
    return import_key(path, password, candidate, scrypt_cost=scrypt_cost)


def import_key(path: Path, password: PasswordSource, private_key: bytes, *, scrypt_cost: int = SCRYPT_COST) -> Address:
    """Write an existing key (32 bytes) to a new keystore; return its address.

    Raises:
        FatalError: as `create_keystore`, or the bytes are no secp256k1 key.
    """
    if not _is_private_key(private_key):
        raise key_unreadable(path, "is not written: a secp256k1 key has 32 bytes between 1 and the curve order")
    document = _account().encrypt(private_key, read_password(password), kdf="scrypt", iterations=scrypt_cost)
    write_secret(path, json.dumps(document).encode())
    return LocalSigner(private_key).address


def open_keystore(path: Path, password: PasswordSource) -> LocalSigner:
    """Decrypt a keystore v3 file.

    Raises:
        FatalError: the file or its directory is open to others, is no keystore, names another address than its key's,
            or the password is wrong.
    """
    check_private(path.parent)
    document = _parse_keystore(path, read_secret(path))
    _check_cost(path, document)
    try:
        private_key = bytes(_account().decrypt(document, read_password(password)))
    except (ValueError, KeyError, TypeError, NotImplementedError, OverflowError, MemoryError) as error:
        raise key_unreadable(path, "cannot be decrypted: check that the password belongs to this file") from error
    if not _is_private_key(private_key):
        raise key_unreadable(path, "holds no secp256k1 key")
    signer = LocalSigner(private_key)
    named = str(document.get("address", signer.address)).lower().removeprefix("0x")
    if named != signer.address[2:]:
        raise key_unreadable(path, f"names {named[:80]} but holds the key of {signer.address}")
    return signer


def create_identity(path: Path, password: PasswordSource) -> bytes:
    """Make a new Ed25519 identity and its file; return the public key (32 bytes).

    Raises:
        FatalError: as `create_keystore`.
    """
    private = Ed25519PrivateKey.generate()
    encryption = BestAvailableEncryption(read_password(password).encode())
    write_secret(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return IdentityKey(private).public_key


def open_identity(path: Path, password: PasswordSource) -> IdentityKey:
    """Decrypt an identity file.

    Raises:
        FatalError: as `open_keystore`, or the file holds a key of another kind.
    """
    check_private(path.parent)
    document = read_secret(path)
    try:
        private = load_pem_private_key(document, read_password(password).encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise key_unreadable(path, "cannot be decrypted: check that the password belongs to this file") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise key_unreadable(path, "holds no Ed25519 key")
    return IdentityKey(private)


def read_password(source: PasswordSource) -> str:
    """Return the password, without the line end of its file.

    Raises:
        FatalError: the file is open to others, is not UTF-8, or the password is empty.
    """
    if callable(source):
        password = source()
        if not password:
            raise FatalError("an empty password protects nothing; enter one", code="key_unreadable")
        return password
    try:
        password = read_secret(source).decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise key_unreadable(source, "is not UTF-8; write the password as plain text") from error
    if not password:
        raise key_unreadable(source, "is empty; write the password into it")
    return password


def _account() -> "type[Account]":
    with recursion_limit_kept():
        from eth_account import Account  # noqa: PLC0415 - slow to import, and needed by few commands
    return Account


def _is_private_key(candidate: bytes) -> bool:
    return len(candidate) == 32 and 0 < int.from_bytes(candidate, "big") < CURVE_ORDER


def _parse_keystore(path: Path, data: bytes) -> dict[str, object]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise key_unreadable(path, "is no keystore: it does not parse as JSON") from error
    if not isinstance(document, dict) or document.get("version") != 3:
        raise key_unreadable(path, "is no keystore of version 3")
    return document


def _check_cost(path: Path, document: dict[str, object]) -> None:
    """Refuse parameters that would take the machine's memory or hours before the password is even tried."""
    crypto = document.get("crypto", document.get("Crypto"))
    parameters = crypto.get("kdfparams") if isinstance(crypto, dict) else None
    if not isinstance(crypto, dict) or not isinstance(parameters, dict):
        raise key_unreadable(path, "is no keystore: crypto.kdfparams is missing")
    if parameters.get("dklen") != _KEY_BYTES:
        raise key_unreadable(path, f"asks for a derived key of other than {_KEY_BYTES} bytes (crypto.kdfparams.dklen)")
    if crypto.get("kdf") == "scrypt":
        n, r, p = (_positive(path, parameters, name) for name in ("n", "r", "p"))
        if 128 * n * r > _MAX_SCRYPT_BYTES or n * r * p > _MAX_SCRYPT_WORK:
            raise key_unreadable(
                path, "asks for more memory or work than any usual keystore (crypto.kdfparams n, r, p)"
            )
    elif _positive(path, parameters, "c") > _MAX_PBKDF2_ROUNDS:
        raise key_unreadable(path, f"asks for more than {_MAX_PBKDF2_ROUNDS} rounds (crypto.kdfparams.c)")


def _positive(path: Path, parameters: dict[str, object], name: str) -> int:
    value = parameters.get(name)
    if not isinstance(value, int) or value < 1:
        raise key_unreadable(path, f"is no keystore: crypto.kdfparams.{name} is no positive whole number")
    return value
