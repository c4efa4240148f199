"""Where a node's keys lie in their directory, and how they are made and opened together."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from attest.keys.certificates import operator_certificate
from attest.keys.guard import create_guard, guard_path
from attest.keys.keystore import PasswordSource, create_identity, create_keystore, open_identity, read_password
from attest.keys.secret_files import write_secret
from riskschema.errors import FatalError
from riskschema.units import Address, Hash32

ATTESTATION = "attestation.json"
IDENTITY = "identity.pem"
TRANSMITTER = "transmitter.json"
PUBLIC = "public.json"
"""The public halves, so that nobody needs the password to look them up."""
PASSWORD = "password"  # noqa: S105 - the file's name
BROKER_PASSWORD = "broker-password"  # noqa: S105 - the file's name


class PublicKeys(msgspec.Struct, frozen=True, kw_only=True):
    """What others may know of a node's keys."""

    attestation: Address
    identity: Hash32
    transmitter: Address


def make_keys(directory: Path, password: PasswordSource) -> PublicKeys:
    """Make the three keys of a node, and the guard of the attestation key.

    Raises:
        FatalError: one of the files exists already, or the password or the directory cannot be used; nothing is
            overwritten.
    """
    text = read_password(password)  # before anything is made
    make_directory(directory)
    taken = [name for name in (ATTESTATION, IDENTITY, TRANSMITTER, PUBLIC) if (directory / name).exists()]
    if taken:
        raise FatalError(
            f"{directory} holds {', '.join(taken)} already: keys are never overwritten; choose another directory",
            code="key_unreadable",
        )

    def known() -> str:
        return text

    attestation = create_keystore(directory / ATTESTATION, known)
    create_guard(guard_path(directory / ATTESTATION), attestation)
    identity = create_identity(directory / IDENTITY, known)
    certificate = operator_certificate(open_identity(directory / IDENTITY, known))
    write_secret(certificate_path(directory / IDENTITY), certificate)
    keys = PublicKeys(
        attestation=attestation,
        identity=Hash32(identity),
        transmitter=create_keystore(directory / TRANSMITTER, known),
    )
    document = {"attestation": keys.attestation, "identity": keys.identity, "transmitter": keys.transmitter}
    write_secret(directory / PUBLIC, json.dumps(document, indent=2).encode() + b"\n")
    return keys


def certificate_path(identity: Path) -> Path:
    """Return where the certificate of an identity lies: beside it."""
    return identity.with_suffix(".crt")


def make_directory(directory: Path) -> None:
    """Make a directory that only its owner may enter, unless it exists.

    Raises:
        FatalError: it cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise FatalError(
            f"{directory}: cannot be made a directory: {error.strerror}", code="file_unreadable"
        ) from error


def read_public_keys(directory: Path) -> PublicKeys:
    """Read the public halves.

    Raises:
        FatalError: the directory holds no complete set of keys.
    """
    try:
        document = json.loads((directory / PUBLIC).read_bytes())
        return PublicKeys(
            attestation=Address(document["attestation"]),
            identity=Hash32(document["identity"]),
            transmitter=Address(document["transmitter"]),
        )
    except OSError as error:
        raise FatalError(
            f"{directory / PUBLIC}: {error.strerror}: make keys with `plimsoll keys create`", code="key_unreadable"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise FatalError(f"{directory / PUBLIC} is damaged: {error}", code="key_unreadable") from error
