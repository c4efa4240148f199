"""The contract that reports go to, and how long the account that pays for it lasts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from attest.formats.committee import rounds_per_day
from contracts.calls import decode_result, decode_revert, encode_call
from node.commands.doctor.findings import Finding, care, good, wrong
from node.commands.doctor.operator import Operator
from node.endpoints.opening import endpoint_options
from node.publishing.publisher import open_sender
from node.publishing.sender import Sender
from node.settings import Publish, endpoints_of
from riskschema.errors import InvalidData, TransientError
from riskschema.units import Address, Hash32

GAS_OF_A_REPORT = 130_000
"""With four signatures; docs/gas.md."""
GWEI, COIN = 10**9, 10**18
LEAST_RUNWAY_DAYS = 3.0
ORACLE = "RiskOracle"


async def examine_destination(operator: Operator, publish: Publish, transmitter: Address) -> Sequence[Finding]:
    """Return the state of the contract and of the account that pays.

    Raises:
        PlimsollError: the endpoint that transactions are sent by cannot be used.
    """
    chain = next(chain for chain in operator.settings.chains if chain.chain_id == publish.chain_id)
    async with open_sender(
        endpoints=[endpoint_options(endpoint, operator.directory) for endpoint in endpoints_of(chain)],
        chain_id=chain.chain_id,
        address=transmitter,
        explain=lambda data: str(decode_revert(data)),
        genesis_hash=chain.genesis_hash,
        timeout_seconds=chain.timeout,
    ) as sender:
        return [await _contract(operator, publish, sender), await _runway(operator, publish, sender)]


async def _contract(operator: Operator, publish: Publish, sender: Sender) -> Finding:
    oracle = publish.oracle
    if not await sender.has_code(oracle):
        missing = InvalidData(f"there is no contract at {oracle} on chain {publish.chain_id}", code="no_code")
        return wrong("contract", missing, "Correct [publish], or make one: plimsoll deploy, plimsoll committee init.")
    digest = Hash32((await _read(sender, oracle, "configDigest"))[0])
    wanted = Hash32(operator.rules.config_digest)
    if digest != wanted:
        said = f"{oracle} has the committee {digest}, the committee file is {wanted}"
        remedy = "Take the committee file of this contract, or initialise the contract: plimsoll committee initialise."
        return wrong("contract", InvalidData(said, code="invalid_settings"), remedy)
    (paused_until,) = await _read(sender, oracle, "pausedUntil")
    if paused_until > time.time():
        until = datetime.fromtimestamp(min(paused_until, 2**40), UTC)
        said = f"{oracle} is paused until {until:%Y-%m-%d %H:%M} UTC"
        return care("contract", "publish_refused", said, "Ask its guardian why; rounds go on meanwhile.")
    number, observed_at = await _read(sender, oracle, "latestRound")
    if not number:
        return good("contract", f"{oracle} has this committee and no report yet")
    age = time.time() - observed_at
    return good("contract", f"{oracle} has this committee; its newest report is round {number}, {age:,.0f} s old")


async def _runway(operator: Operator, publish: Publish, sender: Sender) -> Finding:
    balance = await sender.balance()
    if not balance:
        return wrong("transmitter", TransientError(f"{sender.address} has nothing", code="transmitter_unfunded"))
    base, tip = await sender.gas_prices()
    price = min(base + min(tip, publish.max_tip_gwei * GWEI), publish.max_fee_gwei * GWEI)
    daily = GAS_OF_A_REPORT * max(price, 1) * rounds_per_day(operator.committee)
    days = balance / daily
    said = f"{sender.address} has {balance / COIN:.6g} coins: {days:,.1f} days of all rounds at {price / GWEI:.3g} gwei"
    if days < LEAST_RUNWAY_DAYS:
        return care("transmitter", "transmitter_unfunded", said)
    return good("transmitter", said)


async def _read(sender: Sender, oracle: Address, function: str) -> tuple[Any, ...]:
    answer = await sender.read(oracle, encode_call(ORACLE, function))
    try:
        return decode_result(ORACLE, function, answer)
    except InvalidData as error:
        raise InvalidData(f"{oracle}: {function}: {error.message}", code="answer_malformed") from error
