"""Every broker by itself: whether it is reached, is who it should be, and lets this operator in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from node.commands.doctor.findings import Finding, care, good, wrong
from node.commands.doctor.operator import Operator
from node.gossip.opening import broker_address
from node.gossip.probing import probe_broker
from node.gossip.topics import Topics, topics_of
from node.settings import Broker
from riskschema.errors import InvalidData, PlimsollError

LEAST_DAYS = 30
"""Until the certificate of a broker ends."""
REMEDY = (
    "Check address, port and firewall; whether its certificate here is its own; whether its operators.pem has yours."
)


async def examine_brokers(operator: Operator, me: int, *, runs: bool) -> Sequence[Finding]:
    """Return a line for each broker; a committee of one needs none."""
    brokers = operator.settings.network.brokers
    if len(operator.committee.operators) == 1:
        return [good("brokers", "a committee of one needs none")]
    if not brokers:
        return [wrong("brokers", InvalidData("[[network.brokers]] is missing", code="invalid_settings"))]
    topics = topics_of(operator.committee, me)
    return await asyncio.gather(*(_examine(operator, broker, topics, quietly=runs) for broker in brokers))


async def _examine(operator: Operator, broker: Broker, topics: Topics, *, quietly: bool) -> Finding:
    check = f"broker {broker.url}"
    try:
        address = broker_address(broker, operator.keys, operator.directory)
        until = await probe_broker(address, topics, quietly=quietly)
    except PlimsollError as error:
        return wrong(check, error, REMEDY if error.code == "broker_unreachable" else "")
    let_in = "answers; the node that runs is connected by itself" if quietly else "lets this operator in"
    if until is None:
        return good(check, let_in)
    days = (until - datetime.now(UTC)).days
    said = f"{let_in}; its certificate ends {until:%Y-%m-%d}"
    if days < LEAST_DAYS:
        remedy = "Ask who runs it for a new one (plimsoll broker configure), before it ends."
        return care(check, "broker_unreachable", said, remedy)
    return good(check, said)
