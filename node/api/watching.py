"""What a process that serves knows of the rounds: what their process says, and what the database shows."""

from __future__ import annotations

import asyncio

import aiohttp

from attest.formats.certificate import decode_certificate
from attest.formats.committee import Committee, config_digest
from node.api.answers import DATABASE
from node.api.monitoring import ask_status
from node.status import NodeStatus
from riskschema.errors import PlimsollError, TransientError
from riskschema.ports import Clock, Store
from riskschema.units import Hash32

ASK_EVERY_SECONDS = 1.0
LOOK_EVERY = 5
"""Times the status is asked for between two looks into the database."""
SIGNER = "rounds process"


async def watch(*, status: NodeStatus, store: Store, committee: Committee, clock: Clock, monitoring: str) -> None:
    """Keep `status` true until cancelled.

    Args:
        status: Of the process that serves.
        store: Read only.
        committee: Whose rounds.
        clock: Time.
        monitoring: URL of the monitoring port of the process with the rounds.
    """
    network = Hash32(config_digest(committee))
    async with aiohttp.ClientSession() as session:
        while True:
            await _look(status, store, network, clock)
            for _ in range(LOOK_EVERY):
                try:
                    status.adopt(await ask_status(session, monitoring))
                    status.recover(SIGNER, at=clock.now())
                except TransientError as error:
                    status.fail(SIGNER, error.code, at=clock.now(), detail=error.message)
                await asyncio.sleep(ASK_EVERY_SECONDS)


async def _look(status: NodeStatus, store: Store, network: Hash32, clock: Clock) -> None:
    try:
        latest = await store.latest_certified(network)
    except PlimsollError as error:
        status.fail(DATABASE, error.code, at=clock.now(), detail=error.message)
        return
    status.recover(DATABASE, at=clock.now())
    known = status.certified
    if latest is not None and latest.certificate is not None and (known is None or latest.round > known.round):
        status.certify(latest.round, at=decode_certificate(latest.certificate).header.observed_at)
