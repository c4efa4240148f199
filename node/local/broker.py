"""The broker of a local committee, a process of its own: Mosquitto where the machine has it, else the embedded one."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from attest.formats.committee import Committee
from attest.keys.keystore import read_password
from attest.keys.secret_files import write_secret
from node.gossip.embedded_broker import hash_password
from node.gossip.mosquitto import CERTIFICATE, CONFIGURATION, KEY, mosquitto_files
from node.gossip.topics import network_name
from node.key_files import BROKER_PASSWORD, make_directory
from node.local.operators import LocalOperator
from riskschema.errors import FatalError

FOLDER = "broker"
USERS = "users.json"
PLACES = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
"""Where Mosquitto is that is not on the PATH of everybody."""
START_SECONDS = 30.0
WHILE_PARENT_LIVES = '"$@" & child=$!; read -r _; kill "$child" 2>/dev/null; wait "$child"'
"""A shell that ends the program when its standard input ends: with the process that started it, however that ended."""


def find_mosquitto() -> str | None:
    """Return the program, if this machine has it."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:{PLACES}")


def network_lines(port: int) -> list[str]:
    """Return an operator's settings for the broker."""
    if find_mosquitto() is not None:
        address = [f'url = "mqtts://127.0.0.1:{port}"', f'certificate = "../{FOLDER}/{CERTIFICATE}"']
    else:
        address = [f'url = "mqtt://127.0.0.1:{port}"', f'password_file = "keys/{BROKER_PASSWORD}"']
    return ["[[network.brokers]]", *address]


@asynccontextmanager
async def local_broker(
    directory: Path, committee: Committee, operators: Sequence[LocalOperator], *, port: int
) -> AsyncIterator[str]:
    """Run the broker until the context is left; yield what it is.

    Raises:
        FatalError: it does not start.
    """
    program = find_mosquitto()
    folder = directory / FOLDER
    make_directory(folder)
    if program is not None:
        _configure_mosquitto(folder, committee, operators, port)
        command, name = [program, "-c", str(folder / CONFIGURATION)], "Mosquitto with mutual TLS 1.3"
    else:
        _configure_embedded(folder, committee, operators, port)
        command = [sys.executable, "-P", "-m", "node.cli", "broker", "run", "--file", str(folder / USERS)]
        name = "the embedded broker (Mosquitto is not on the PATH)"
    log = (folder / "log").open("wb")
    process = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", WHILE_PARENT_LIVES, "sh", *command, stdin=PIPE, stdout=DEVNULL, stderr=log, process_group=0
    )
    log.close()
    try:
        await _listening(port, process, folder / "log")
        yield name
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(START_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _listening(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            while process.returncode is None:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    return
                await asyncio.sleep(0.05)
    raise FatalError(f"the broker does not listen on port {port}: see {log}", code="broker_unreachable")


def _configure_mosquitto(folder: Path, committee: Committee, operators: Sequence[LocalOperator], port: int) -> None:
    certificates = [operator.certificate.read_bytes() for operator in operators]
    files = mosquitto_files(
        committee, certificates, directory=str(folder), listen="127.0.0.1", port=port, hosts=["127.0.0.1"]
    )
    if os.getuid() == 0:  # as root it would become another user, who may not enter the directory
        files[CONFIGURATION] += b"user root\n"
    for name, content in files.items():
        (folder / name).unlink(missing_ok=True)
        write_secret(folder / name, content) if name == KEY else (folder / name).write_bytes(content)


def _configure_embedded(folder: Path, committee: Committee, operators: Sequence[LocalOperator], port: int) -> None:
    users = {each.name: hash_password(read_password(each.broker_password)) for each in operators}
    document = {"network": network_name(committee), "port": port, "users": users}
    (folder / USERS).unlink(missing_ok=True)
    write_secret(folder / USERS, json.dumps(document).encode())
