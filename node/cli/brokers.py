"""The brokers by which operators hear each other."""

from __future__ import annotations

from pathlib import Path

import click

from node.cli.options import PATH, example


@click.group(short_help="Configure the brokers of a committee.")
def broker() -> None:
    """Write the configuration of a Mosquitto broker, or run the embedded one."""


@broker.command(
    "configure",
    epilog=example(
        "plimsoll broker configure --committee committee.json --certificate a.crt --certificate b.crt \\",
        "    --certificate c.crt --certificate d.crt --host broker1.example --directory broker1",
    ),
)
@click.option("--committee", type=PATH, required=True, help="The committee file.")
@click.option(
    "--certificate",
    "certificates",
    type=PATH,
    multiple=True,
    required=True,
    help="An operator's keys/identity.crt; repeat for all, in any order.",
)
@click.option("--host", "hosts", multiple=True, required=True, help="Name or address of the broker; may be repeated.")
@click.option("--listen", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104
@click.option("--port", type=click.IntRange(1, 65_535), default=8883, show_default=True, help="Port to listen on.")
@click.option("--directory", type=PATH, required=True, help="Where the files go; made if missing.")
@click.option("--installed", help="Where they will lie on the broker's machine, if not there.")
def configure(
    *,
    committee: Path,
    certificates: tuple[Path, ...],
    hosts: tuple[str, ...],
    listen: str,
    port: int,
    directory: Path,
    installed: str | None,
) -> None:
    """Write configuration, access list, key and certificates of a Mosquitto broker with mutual TLS 1.3."""
    from node.commands.network.broker import configure_broker  # noqa: PLC0415

    configure_broker(committee, certificates, directory, hosts=hosts, listen=listen, port=port, installed=installed)


@broker.command("run", epilog=example("plimsoll broker run --file broker/users.json"))
@click.option("--file", type=PATH, required=True, help="JSON (mode 0600): network, port, users with password hashes.")
def run_embedded(file: Path) -> None:
    """Run the embedded broker on loopback until Ctrl-C: for trying out, on one machine."""
    from node.commands.network.broker import run_broker  # noqa: PLC0415

    run_broker(file)
