"""From what a round agreed on to this node's report: read at the pins, assess, build, store; nothing is signed yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import msgspec

from adapters.parallel import in_parallel
from aggregator.market_memory import SECTION, remember
from attest.agreement.effects import OutcomeReady
from attest.agreement.outcome import Outcome, pins_root
from attest.agreement.state import AgreedState, next_state, with_sections
from attest.agreement.state_format import encode_state
from attest.formats.header import ReportHeader, decode_header, encode_header
from attest.reports.report import build_report
from node.index.choosing import Chosen, choose, has_shrunken
from node.index.spare import set_spare_aside
from node.round.assessing import AssessedRound, agreed_market, assess_round, known_memory, market_state
from node.round.hourly_prices import completed_hours
from node.round.node import Node
from node.round.reading import Reading, read_portfolios, venue_holders
from riskschema.codec import encode_json
from riskschema.errors import TransientError
from riskschema.portfolio import BlockReference, Portfolio
from riskschema.ports import PinnedReader
from riskschema.rounds import ChainWitnesses, RoundReading, RoundStep, StoredReport, UnprovedBooks
from riskschema.units import Hash32


async def make_report(node: Node, ready: OutcomeReady) -> tuple[ReportHeader, AgreedState]:
    """Return this node's report of a round, and the state after it.

    Raises:
        TransientError: this node abstains; the reason is the error's code.
        InvalidData: a source or contract answered what cannot be right.
    """
    outcome = ready.outcome
    hours = completed_hours(ready.parent_state.hours, outcome)
    state = next_state(ready.parent_state, outcome)
    history = node.hourly_prices.at(state.hours, hours)
    known = known_memory(ready.parent_state)
    memory = await node.executor.run(remember, known, history, node.groups, node.parameters)
    state = with_sections(state, {SECTION: memory.section})

    header = await _kept_report(node, outcome.round)
    if header is None:
        async with node.step(RoundStep.READ, outcome.round):
            left_out, reading = await _read(node, outcome, ready.parent_state)
            node.metrics.left_out(left_out)
        async with node.step(RoundStep.ASSESS, outcome.round):
            market = market_state(outcome, history, node.groups)
            assessed = await assess_round(node, reading, market, stressed=memory.stressed)
        async with node.step(RoundStep.REPORT, outcome.round):
            header = await _report(node, outcome, state, (left_out, reading), assessed)
    node.hourly_prices.expect(state.hours, hours)
    return header, state


async def _kept_report(node: Node, round_number: int) -> ReportHeader | None:
    """Return the report that this node computed before a restart: it may be signed, so no other is computed."""
    kept = await node.store.report(node.config_digest, round_number)
    return None if kept is None else decode_header(kept.header)


async def _read(node: Node, outcome: Outcome, parent: AgreedState) -> tuple[RoundReading, Reading]:
    if not outcome.pins:
        raise TransientError("no chain has a block recent enough to be pinned", code="chain_out")
    pinned = await in_parallel(node.chains[pin.chain_id].pin(pin) for pin in outcome.pins)
    readers = {reader.block.chain_id: reader for reader in pinned}
    holders = await venue_holders(node.indexes, node.chains, readers)
    chosen = choose(
        holders,
        {value.factor: value.value for value in outcome.values},
        requested=[request.address for request in outcome.on_demand],
        caps={rule.venue: rule.account_cap for rule in node.rules.committee.venues},
        limit=node.rules.committee.account_cap,
        smallest=node.rules.parameters.smallest_account_usd,
    )
    await _refuse_shrunken(node, outcome, parent, chosen)
    told = {found.venue: found.told for found in holders}
    reading = await read_portfolios(node.venues, readers, chosen.accounts, told)
    known = tuple(map(set_spare_aside, reading.portfolios))
    return _left_out(chosen, known, readers), msgspec.structs.replace(reading, portfolios=known)


def _left_out(chosen: Chosen, portfolios: Iterable[Portfolio], readers: Mapping[int, PinnedReader]) -> RoundReading:
    """Return what a report leaves out, and whose word it is."""
    return RoundReading(
        small=chosen.small,
        beyond_caps=chosen.beyond_caps,
        aside=sum(len(portfolio.aside) for portfolio in portfolios),
        unproved=tuple(UnprovedBooks(venue=venue, books=books) for venue, books in sorted(chosen.unproved.items())),
        chains=tuple(
            ChainWitnesses(chain_id=chain_id, witnesses=reader.witnesses)
            for chain_id, reader in sorted(readers.items())
        ),
    )


async def _refuse_shrunken(node: Node, outcome: Outcome, parent: AgreedState, chosen: Chosen) -> None:
    """Refuse a set of found accounts far smaller than the parent report's: a function of what all agreed on.

    Only reports of the same chains are compared: of one that is out nobody is found, and the round goes on without it.

    Raises:
        TransientError: it is.
    """
    wanted = outcome.parent
    report = await node.store.report_of(node.config_digest, wanted.round, Hash32(wanted.report_hash))
    if report is None or not _is_of_chains(decode_header(report.header), parent.pins, outcome.pins):
        return
    before = decode_header(report.header).account_count - len(parent.on_demand)
    now = len(chosen.accounts) - len(outcome.on_demand)
    if has_shrunken(before, now, node.rules.parameters.max_shrink_ppm):
        raise TransientError(
            f"{now} accounts are found, {before} were in round {outcome.parent.round}", code="holders_shrank"
        )


def _is_of_chains(header: ReportHeader, last_pins: Sequence[BlockReference], pins: Sequence[BlockReference]) -> bool:
    """Tell whether a report, after which `last_pins` are known, was of the chains of `pins`."""
    chains = {pin.chain_id for pin in pins}
    return pins_root([pin for pin in last_pins if pin.chain_id in chains]) == header.pins_root


async def _report(
    node: Node,
    outcome: Outcome,
    state: AgreedState,
    read: tuple[RoundReading, Reading],
    assessed: AssessedRound,
) -> ReportHeader:
    """Build the report and store it, before anything of it is signed."""
    left_out, reading = read
    build = partial(
        build_report,
        config_digest=node.rules.config_digest,
        outcome=outcome,
        state=state,
        portfolios=reading.portfolios,
        coverage=reading.coverage,
        coverage_ppm=reading.coverage_ppm,
        assessments=assessed.assessments,
        array_rows=assessed.array_rows,
        model=node.model,
        breakers=assessed.breakers,
    )
    report = await node.executor.run(build)
    stored = StoredReport(
        config_digest=node.config_digest,
        round=report.header.round,
        report_hash=Hash32(report.hash),
        header=encode_header(report.header),
        state=encode_state(state),
        certificate=None,
    )
    market = agreed_market(outcome, node.groups, node.recent_sources)
    await node.store.put_report(stored, report.accounts, encode_json(market), encode_json(left_out))
    return report.header
