"""A node's keys and its signing record."""

from __future__ import annotations

from pathlib import Path

import click

from node.cli.options import PATH, directory_option, example, json_option


@click.group(short_help="Make, show and move a node's keys.")
def keys() -> None:
    """Make and inspect a node's encrypted keys, and move its signing record to another machine."""


@keys.command(
    "create",
    epilog=example("plimsoll keys create --directory operator/keys --password-file operator/password"),
)
@click.option("--directory", type=PATH, required=True, help="Where the keystores go; made if missing.")
@click.option("--password-file", type=PATH, help="File (mode 0600) with the password; asked for if not given.")
@json_option
def keys_create(directory: Path, password_file: Path | None, as_json: bool) -> None:
    """Make an identity, an attestation and a transmitter key; nothing is overwritten."""
    from node.commands.keys import create_keys  # noqa: PLC0415

    create_keys(directory, password_file=password_file, as_json=as_json)


@keys.command("show", epilog=example("plimsoll keys show --directory operator/keys"))
@directory_option
@json_option
def keys_show(directory: Path, as_json: bool) -> None:
    """Print the public halves of the keys; needs no password."""
    from node.commands.keys import show_keys  # noqa: PLC0415

    show_keys(directory, as_json=as_json)


@keys.command("export-guard", epilog=example("plimsoll keys export-guard --directory operator/keys > guard.json"))
@directory_option
def keys_export_guard(directory: Path) -> None:
    """Print, as JSON, the highest round the attestation key may have signed; stop the node first."""
    from node.commands.keys import export_guard  # noqa: PLC0415

    export_guard(directory)


@keys.command("import-guard", epilog=example("plimsoll keys import-guard --directory operator/keys guard.json"))
@directory_option
@click.argument("file", type=PATH)
def keys_import_guard(directory: Path, file: Path) -> None:
    """Take over the marks in FILE (from export-guard), so that no round is signed twice; none is ever lowered."""
    from node.commands.keys import import_guard  # noqa: PLC0415

    import_guard(directory, file)


@keys.command("renew-guard", epilog=example("plimsoll keys renew-guard --directory operator/keys"))
@directory_option
@click.option("--yes", "confirmed", is_flag=True, help="Do not ask: no other machine signs, and the clock is right.")
def keys_renew_guard(directory: Path, confirmed: bool) -> None:
    """Take up a signing record that was lost or put back from a copy; two rounds are left out."""
    from node.commands.keys import take_up_guard  # noqa: PLC0415

    take_up_guard(directory, confirmed=confirmed)
