"""`plimsoll keys`: make and show a node's keys, and move the record of what they signed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import click

from attest.keys.guard import Guard, guard_path, open_guard, renew_guard
from node.commands.documents import read_document
from node.key_files import ATTESTATION, PublicKeys, make_keys, read_public_keys
from riskschema.codec import encode_json
from riskschema.errors import FatalError


def create_keys(directory: Path, *, password_file: Path | None, as_json: bool) -> None:
    """Make the keys and print their public halves."""
    password = password_file or _ask_once()
    _print(make_keys(directory, password), as_json=as_json)


def show_keys(directory: Path, *, as_json: bool) -> None:
    """Print the public halves of existing keys."""
    _print(read_public_keys(directory), as_json=as_json)


def export_guard(directory: Path) -> None:
    """Print the marks of the attestation key as JSON.

    Raises:
        FatalError: there is no guard, or a node holds it.
    """
    path = guard_path(directory / ATTESTATION)
    if not path.exists():
        raise FatalError(f"{path} is missing: this machine does not know what the key signed", code="guard_unreadable")
    with _guard(directory) as guard:
        click.echo(guard.export_marks())


def import_guard(directory: Path, file: Path) -> None:
    """Raise the marks of the attestation key to those of an export, and say where they are now.

    Raises:
        InvalidData: the file is no export, or of another key; nothing changes.
        FatalError: a node holds the guard.
    """
    document = read_document(file, what="guard export")
    with _guard(directory) as guard:
        guard.import_marks(document)
        click.echo(f"{guard_path(directory / ATTESTATION)}: marks of {guard.address} taken over", err=True)


def take_up_guard(directory: Path, *, confirmed: bool) -> None:
    """Take up a guard that was lost or put back, after asking whether the key is used elsewhere.

    Raises:
        FatalError: a node holds the guard, or it is damaged.
        Abort: the answer is no.
    """
    address = read_public_keys(directory).attestation
    if not confirmed:
        question = f"Is this the only machine that signs with {address}, and is its clock right?"
        click.confirm(question, abort=True, err=True)
    renew_guard(guard_path(directory / ATTESTATION), address)
    click.echo(f"{guard_path(directory / ATTESTATION)}: taken up; the next start leaves two rounds out", err=True)


def _guard(directory: Path) -> Guard:
    return open_guard(guard_path(directory / ATTESTATION), read_public_keys(directory).attestation)


def _ask_once() -> Callable[[], str]:
    """Return a function that asks for the password at its first call and remembers it for the other keys."""

    @cache
    def ask() -> str:
        answer: str = click.prompt("Password for the keys", hide_input=True, confirmation_prompt=True, err=True)
        return answer

    return ask


def _print(keys: PublicKeys, *, as_json: bool) -> None:
    if as_json:
        click.echo(encode_json(keys))
        return
    click.echo(f"attestation  {keys.attestation}   signs reports; goes into the committee file")
    click.echo(f"identity     {keys.identity}   signs messages to peers; goes into the committee file")
    click.echo(f"transmitter  {keys.transmitter}   pays for transactions; give it some of the chain's coin")
