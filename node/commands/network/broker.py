"""`plimsoll broker`: the files of a Mosquitto broker for a committee, and the embedded broker in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from attest.keys.certificates import check_operator_certificate
from attest.keys.secret_files import read_secret, write_secret
from node.committee_file import load_committee
from node.gossip.embedded_broker import open_embedded_broker
from node.gossip.mosquitto import CERTIFICATE, CONFIGURATION, KEY, mosquitto_files
from node.key_files import make_directory
from node.loop.stopping import Stopping, StopRequest, stop_on_signals
from node.settings import read_text
from riskschema.codec import decode_json
from riskschema.errors import InvalidData

MAX_CERTIFICATE_BYTES = 1 << 16
FOREVER = 10.0**9


class BrokerFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom the embedded broker lets in."""

    network: str
    """The committee's name in topics."""
    port: int
    users: dict[str, str]
    """SHA-256 of the password, by user: the operator's identity in hexadecimal."""


def configure_broker(
    committee_file: Path,
    certificates: Sequence[Path],
    directory: Path,
    *,
    hosts: Sequence[str],
    listen: str,
    port: int,
    installed: str | None,
) -> None:
    """Write a Mosquitto broker's files; an existing key is never overwritten.

    Raises:
        InvalidData: a certificate is missing or not the operator's.
        FatalError: the directory cannot be used, or holds a broker already.
    """
    committee = load_committee(committee_file)
    by_text = {read_text(path, what="certificate", limit=MAX_CERTIFICATE_BYTES) for path in certificates}
    ordered = []
    for index, operator in enumerate(committee.operators):
        name = operator.identity.hex()
        found = [text for text in by_text if _names(text, operator.identity)]
        if not found:
            raise InvalidData(
                f"no certificate of operator {index} (identity {name}) is given: ask for its keys/identity.crt",
                code="invalid_settings",
            )
        ordered.append(found[0].encode())
    make_directory(directory)
    place = installed or str(directory.resolve())
    files = mosquitto_files(committee, ordered, directory=place, listen=listen, port=port, hosts=hosts)
    write_secret(directory / KEY, files.pop(KEY))
    for name, content in files.items():
        (directory / name).write_bytes(content)
    click.echo(f"{directory / CONFIGURATION}: start with mosquitto -c {place}/{CONFIGURATION}")
    click.echo(f"{directory / CERTIFICATE}: give it to every operator, for network.brokers.certificate")


def run_broker(file: Path) -> None:
    """Serve until a signal.

    Raises:
        InvalidData: the file is no such document.
        FatalError: it is open to others, or the port is taken.
    """
    document = decode_json(read_secret(file), BrokerFile, what=str(file))
    asyncio.run(_run(document))


async def _run(document: BrokerFile) -> None:
    stop = StopRequest()
    async with (
        stop_on_signals(stop),
        open_embedded_broker(document.users, network=document.network, port=document.port) as port,
    ):
        click.echo(f"listening on 127.0.0.1:{port}", err=True)
        try:
            await stop.sleep(asyncio.sleep(FOREVER))
        except Stopping:
            return


def _names(text: str, identity: bytes) -> bool:
    try:
        check_operator_certificate(text.encode(), identity)
    except InvalidData:
        return False
    return True
