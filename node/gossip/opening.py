"""The transport that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from attest.agreement.rules import AgreementRules
from attest.keys.keystore import read_password
from node.gossip.brokers import open_brokers
from node.gossip.connection import BrokerAddress, Tls
from node.gossip.memory import MemoryHub
from node.gossip.topics import topics_of
from node.gossip.transport import Transport
from node.key_files import certificate_path
from node.settings import Broker, Keys, Settings
from node.status import NodeStatus
from riskschema.errors import InvalidData
from riskschema.ports import Clock


@asynccontextmanager
async def open_transport(
    settings: Settings, keys: Keys, directory: Path, *, rules: AgreementRules, me: int, status: NodeStatus, clock: Clock
) -> AsyncIterator[Transport]:
    """Open the way to the other operators; a committee of one has nobody to reach.

    Raises:
        InvalidData: a committee of several needs brokers, or the password or certificate of one is missing.
        FatalError: a secret file is open to others.
    """
    if rules.n == 1:
        yield MemoryHub().join(me)
        return
    if not settings.network.brokers:
        raise InvalidData(
            f"[[network.brokers]] is missing: this committee has {rules.n} operators, who hear each other by brokers",
            code="invalid_settings",
        )
    addresses = [broker_address(broker, keys, directory) for broker in settings.network.brokers]
    interval = float(rules.committee.round_interval_seconds)
    opened = open_brokers(addresses, topics_of(rules.committee, me), interval=interval, status=status, clock=clock)
    async with opened as transport:
        yield transport


def broker_address(broker: Broker, keys: Keys, directory: Path) -> BrokerAddress:
    """Return where a broker is, with the secrets that it asks for.

    Raises:
        InvalidData: a certificate is missing.
        FatalError: a secret file is missing or open to others.
    """
    if broker.certificate is None:
        return BrokerAddress(url=broker.url, password=read_password(directory / (broker.password_file or "")))
    identity, trusted = directory / keys.identity, directory / broker.certificate
    own = certificate_path(identity)
    for path, what in ((trusted, f"the certificate of {broker.url}"), (own, "this operator's certificate")):
        if not path.is_file():
            raise InvalidData(f"{path}: {what} is missing", code="file_unreadable")
    password = read_password(directory / keys.password_file)
    return BrokerAddress(url=broker.url, tls=Tls(trusted=trusted, certificate=own, key=identity, password=password))
