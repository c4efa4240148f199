"""`plimsoll keys`: make and show a node's keys."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import click

from node.key_files import PublicKeys, make_keys, read_public_keys
from riskschema.codec import encode_json


def create_keys(directory: Path, *, password_file: Path | None, as_json: bool) -> None:
    """Make the keys and print their public halves."""
    password = password_file or _ask_once()
    _print(make_keys(directory, password), as_json=as_json)


def show_keys(directory: Path, *, as_json: bool) -> None:
    """Print the public halves of existing keys."""
    _print(read_public_keys(directory), as_json=as_json)


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
