"""The operators of a local committee: a directory each, with keys, passwords, settings and ports of its own."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec

from attest.formats.committee import Operator
from attest.keys.secret_files import write_secret
from node.gossip.topics import operator_name
from node.key_files import (
    BROKER_PASSWORD,
    IDENTITY,
    PASSWORD,
    PUBLIC,
    PublicKeys,
    certificate_path,
    make_directory,
    make_keys,
    read_public_keys,
)


class LocalOperator(msgspec.Struct, frozen=True, kw_only=True):
    """One operator of a network on this machine."""

    directory: Path
    keys: PublicKeys

    @property
    def config_file(self) -> Path:
        """Its settings."""
        return self.directory / "plimsoll.toml"

    @property
    def certificate(self) -> Path:
        """What it shows to brokers."""
        return certificate_path(self.directory / "keys" / IDENTITY)

    @property
    def name(self) -> str:
        """Its name for brokers."""
        return operator_name(self.keys.identity.to_bytes())

    @property
    def broker_password(self) -> Path:
        """What it says to the embedded broker."""
        return self.directory / "keys" / BROKER_PASSWORD


def local_operators(directory: Path, number: int) -> tuple[LocalOperator, ...]:
    """Return so many operators below a directory; keys that are there stay.

    A single one lives in the directory itself.

    Raises:
        FatalError: keys of an earlier run cannot be opened.
    """
    places = [directory] if number == 1 else [directory / f"operator-{index}" for index in range(1, number + 1)]
    return tuple(LocalOperator(directory=place, keys=_keys(place / "keys")) for place in places)


def committee_operators(operators: Sequence[LocalOperator]) -> tuple[Operator, ...]:
    """Return them as the committee names them."""
    return tuple(Operator(signer=each.keys.attestation, identity=each.keys.identity.to_bytes()) for each in operators)


def free_port() -> int:
    """Return a port of this machine on which nobody listens now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _keys(directory: Path) -> PublicKeys:
    password = directory / PASSWORD
    make_directory(directory.parent)
    make_directory(directory)
    if not (directory / PUBLIC).exists():
        if not password.exists():
            write_secret(password, secrets.token_urlsafe(32).encode())
        make_keys(directory, password)
    if not (directory / BROKER_PASSWORD).exists():
        write_secret(directory / BROKER_PASSWORD, secrets.token_urlsafe(32).encode())
    return read_public_keys(directory)
