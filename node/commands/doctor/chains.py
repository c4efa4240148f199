"""Every endpoint by itself, with its limits; what the clock says beside their blocks; how old the feeds are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack

import msgspec

from adapters.chains import Chain as OpenedChain
from adapters.chains import EndpointReport, open_chain
from adapters.chains.provider import origin
from aggregator.parameters import load_parameters
from node.clock_check import check_clock
from node.commands.doctor.findings import Finding, care, good, wrong
from node.commands.doctor.operator import Operator
from node.endpoints.opening import endpoint_options, open_chains
from node.factor_list import factor_faults, with_own_factors
from node.round.observing import market_sources, quoted_by
from node.settings import Chain, Endpoint, endpoint_url, endpoints_of
from riskschema.errors import PlimsollError, TransientError
from riskschema.instruments import FactorId
from riskschema.market import MarketReading
from riskschema.portfolio import BlockReference
from riskschema.units import ZERO_ADDRESS, Hash32

ENDPOINT_SECONDS = 30.0
"""For one endpoint: some requests after each other."""
OLD_SECONDS = {"latest": 192, "safe": 2_304, "finalized": 2_304}
"""A head that is older by this machine's clock is told, by its finality."""
NOBODY = Hash32(b"\xff" * 32)
"""A topic that no log has: whoever is asked for it answers nothing, whatever the range."""


class ExaminedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint, and its newest block where it has one."""

    finding: Finding
    head: BlockReference | None = None


async def examine_endpoints(
    operator: Operator, needed: Mapping[int, Collection[int]]
) -> tuple[Sequence[Finding], Sequence[BlockReference]]:
    """Return a line for each endpoint, and their newest blocks.

    Args:
        operator: Whose.
        needed: By chain the blocks from which on its logs will be asked for.
    """
    asked = [(chain, endpoint) for chain in operator.settings.chains for endpoint in endpoints_of(chain)]
    examined = await asyncio.gather(
        *(_examine(operator, chain, endpoint, needed.get(chain.chain_id, ())) for chain, endpoint in asked)
    )
    return [each.finding for each in examined], [each.head for each in examined if each.head is not None]


def clock_finding(heads: Sequence[BlockReference]) -> Finding:
    """Return what the clock says beside the newest block."""
    if not heads:
        said = "no endpoint tells a block to compare with"
        return care("clock", "clock_wrong", said, "Mend an endpoint first; timedatectl says whether the clock is set.")
    now = time.time()
    try:
        check_clock(now, heads)
    except TransientError as error:
        return wrong("clock", error)
    newest = max(heads, key=lambda head: head.timestamp)
    return good("clock", f"{now - newest.timestamp:.0f} s after block {newest.number} of chain {newest.chain_id}")


async def examine_feeds(operator: Operator) -> Sequence[Finding]:
    """Return how old the values of every factor are.

    Raises:
        PlimsollError: no source can be asked.
    """
    async with AsyncExitStack() as stack:
        chains = await open_chains(stack, operator.settings.chains, operator.directory)
        sources = market_sources(operator.settings.market, chains)
        readings = await asyncio.gather(*(source.read() for source in sources))
    return [_feeds_finding(readings), *_factors_findings(operator, quoted_by(sources))]


def _feeds_finding(readings: Sequence[MarketReading]) -> Finding:
    quoted = {quote.factor for reading in readings for quote in reading.quotes}
    missing = [each for reading in readings for each in reading.unquoted if each.factor not in quoted]
    if missing:
        said = "; ".join(f"{each.factor}: {each.detail}" for each in missing)
        remedy = "Check that the feed is still updated; where its own heartbeat is longer, set heartbeat."
        if quoted:
            return care("feeds", missing[0].code, said, remedy)
        return wrong("feeds", TransientError(said, code=missing[0].code), remedy)
    ages = {factor: age for reading in readings for factor, age in reading.ages.items()}
    oldest = max(ages, key=lambda factor: ages[factor], default=None)
    age = "" if oldest is None else f"; the oldest, {oldest}, is {ages[oldest]} s old"
    return good("feeds", f"{len(quoted)} factors have a value{age}")


def _factors_findings(operator: Operator, quoted: Collection[FactorId]) -> Sequence[Finding]:
    """Return a line for each way in which the factors of the settings do not fit the committee.

    Raises:
        InvalidData: the factor list cannot be used.
    """
    market, agreed, name = (
        operator.settings.market,
        operator.committee.parameters.factors,
        operator.settings.parameters_file,
    )
    parameters = load_parameters(None if name is None else operator.directory / name)
    listed = with_own_factors(parameters, market).factors
    faults = factor_faults(listed, market, quoted=quoted, agreed=agreed)
    if not faults:
        return [good("factors", f"a market source is asked for each of the committee's {len(agreed)}")]
    return [
        care("factors", "market_unavailable", f"{', '.join(fault.factors)}: {fault.said}", fault.remedy)
        for fault in faults
    ]


async def _examine(operator: Operator, chain: Chain, endpoint: Endpoint, needed: Collection[int]) -> ExaminedEndpoint:
    check = f"endpoint of {chain.chain_id}"
    try:
        check = f"endpoint {origin(endpoint_url(endpoint, operator.directory))}"
        async with asyncio.timeout(ENDPOINT_SECONDS):
            return await _ask(operator, chain, endpoint, needed, check)
    except PlimsollError as error:
        return ExaminedEndpoint(finding=wrong(check, error))
    except TimeoutError:
        late = TransientError(f"no answer within {ENDPOINT_SECONDS:g} s", code="endpoint_unreachable")
        return ExaminedEndpoint(finding=wrong(check, late))


async def _ask(
    operator: Operator, chain: Chain, endpoint: Endpoint, needed: Collection[int], check: str
) -> ExaminedEndpoint:
    """Ask one endpoint for all that a round needs, as much at a time as the settings allow."""
    async with open_chain(
        endpoints=[endpoint_options(endpoint, operator.directory)],
        chain_id=chain.chain_id,
        genesis_hash=chain.genesis_hash,
        finality=chain.finality,
        confirmations=chain.confirmations,
        multicall=chain.multicall,
        timeout_seconds=chain.timeout,
        attempts=1,
    ) as opened:
        head = await opened.head()
        try:
            await _use_limits(opened, head, endpoint, needed)
        except PlimsollError as error:
            return ExaminedEndpoint(finding=wrong(check, error), head=head)
        (report,) = opened.endpoints()
    return ExaminedEndpoint(finding=_endpoint_finding(check, chain, endpoint, head, report), head=head)


async def _use_limits(opened: OpenedChain, head: BlockReference, endpoint: Endpoint, needed: Collection[int]) -> None:
    """Ask for a batch, for a range of logs, and for the first logs that the indexes need: whoever pruned refuses."""
    reader = await opened.pin(head)
    await reader.native_balances([ZERO_ADDRESS] * endpoint.batch_size)
    first = max(0, head.number - endpoint.log_range + 1)
    ranges = [(first, head.number), *((block, block) for block in sorted(needed) if block <= head.number)]
    for low, high in ranges:
        await reader.logs(addresses=[ZERO_ADDRESS], topics=[[NOBODY]], from_block=low, to_block=high)


def _endpoint_finding(
    check: str, chain: Chain, endpoint: Endpoint, head: BlockReference, report: EndpointReport
) -> Finding:
    limits = f"{report.batch_size} requests a batch, {report.log_range:,} blocks of logs"
    if endpoint.calls_per_day is not None:
        limits += f", {endpoint.calls_per_day:,} calls a day"
    age = time.time() - head.timestamp
    said = f"chain {chain.chain_id}, {chain.finality} block {head.number} is {age:.0f} s old; takes {limits}"
    if age > OLD_SECONDS[chain.finality]:
        remedy = "See whether the endpoint still follows its chain, and whether this machine's clock is right."
        return care(check, "block_unknown", said, remedy)
    if report.batch_size < endpoint.batch_size or report.log_range < endpoint.log_range:
        remedy = (
            f"Set batch_size = {report.batch_size} and log_range = {report.log_range} for it in [[chains.endpoints]]."
        )
        return care(check, "endpoint_refused", said, remedy)
    return good(check, said)
