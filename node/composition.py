"""Open a node: things are opened in reading order and closed in reverse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog

from adapters.parallel import in_parallel
from aggregator.parameters import Parameters, load_parameters
from attest.agreement.machine import RoundMachine
from attest.agreement.rules import AgreementRules
from attest.agreement.state import AgreedState, genesis_state
from attest.agreement.state_format import decode_state
from attest.formats.certificate import Certificate, decode_certificate
from attest.formats.committee import Committee, round_at, rounds_per_day
from attest.keys.guard import Guard, guard_path, open_guard
from attest.keys.identity import IdentityKey
from attest.keys.keystore import LocalSigner, open_identity, open_keystore
from contracts.calls import decode_revert
from node.agreed_settings import agreed_settings, model_of
from node.clock import SystemClock
from node.clock_check import check_clock, check_first_round
from node.committee_file import load_committee, load_history
from node.committee_fit import check_agreement, check_history, destination_of, operator_index
from node.endpoints.opening import endpoint_options, open_chains
from node.endpoints.remembered import FILE, RememberedEndpoints
from node.factor_list import factor_faults, factor_groups, with_own_factors
from node.gossip.opening import open_transport
from node.index.opening import open_indexes
from node.loop.listening import listen
from node.peers import Peers
from node.publishing.outbox import PublishLimits
from node.publishing.publisher import open_publisher
from node.publishing.rules import PublishingRule
from node.publishing.transmitter import PUBLISHER, open_transmitter
from node.round.exchange.fetching import CatchUp
from node.round.hourly_prices import HourlyPrices
from node.round.node import Node, StepHook, no_hook, thread_executor
from node.round.observing import market_sources, quoted_by
from node.round.reading import configured_venues, indexed_venues
from node.round.retention import retention
from node.settings import Keys, MarketSettings, Publish, Settings, endpoints_of
from node.status import NodeStatus
from node.telemetry import Metrics
from riskschema.errors import InvalidData, TransientError
from riskschema.market import HourlyHistory
from riskschema.ports import Clock, MarketSource, Publisher, Store
from riskschema.units import Hash32
from storage.store import open_store

GWEI = 10**9

_log = structlog.get_logger("node.composition")


@asynccontextmanager
async def open_node(
    settings: Settings, directory: Path, *, clock: Clock | None = None, before_step: StepHook = no_hook
) -> AsyncIterator[Node]:
    """Open everything that the settings name.

    Args:
        settings: A node's; committee, keys and chains are needed.
        directory: Relative paths in the settings begin here.
        clock: The machine's, if None.
        before_step: Awaited before each step of a round.

    Raises:
        InvalidData: settings that do not fit together, named.
        FatalError: keys, guard, database or committee need a person.
        TransientError: an endpoint does not answer, or the clock is wrong.
    """
    clock = clock or SystemClock()
    keys, committee = _required(settings, directory)
    history = load_history(settings.market, directory)
    rules = AgreementRules.of(committee)
    parameters = with_own_factors(load_parameters(_optional(directory, settings.parameters_file)), settings.market)
    venues = tuple(venue for chain in settings.chains for venue in configured_venues(chain))
    check_agreement(settings, committee, venues)
    check_history(history, committee)
    destination = destination_of(settings, committee)
    status = NodeStatus(round_interval=committee.round_interval_seconds)
    metrics = Metrics(status)
    async with AsyncExitStack() as stack:
        executor = stack.enter_context(thread_executor())
        identity, signer, guard = _open_keys(stack, keys, directory)
        me = operator_index(committee, signer, identity)
        data = directory / settings.data_directory
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        chains = await open_chains(stack, settings.chains, directory, RememberedEndpoints(data / FILE))
        metrics.watch_endpoints(tuple(chains.values()))
        sources = market_sources(settings.market, chains)
        groups = factor_groups(
            parameters.factors, settings.market, quoted=quoted_by(sources), agreed=committee.parameters.factors
        )
        _tell_faults(parameters, settings.market, committee, sources)
        store = await stack.enter_async_context(open_store(data / settings.database))
        indexes = await stack.enter_async_context(open_indexes(data, indexed_venues(venues)))
        state, certificate = await _resume(store, rules, history)
        hourly_prices = HourlyPrices(history, committee.history_hash, parameters.history_window_hours)
        hourly_prices.load(await store.hours(Hash32(rules.config_digest)), state.hours)
        now = clock.now()
        check_clock(now, await in_parallel(chain.head() for chain in chains.values()))
        slot = round_at(committee, max(int(now), committee.genesis_time))
        transport = await stack.enter_async_context(
            open_transport(settings, keys, directory, rules=rules, me=me, status=status, clock=clock)
        )
        if rules.n > 1 and guard.must_listen(rules.config_digest):
            await clock.sleep_until(committee.genesis_time)
            slot = await listen(rules, me=me, sign=identity.sign, transport=transport, clock=clock)
        entered = guard.enter(rules.config_digest, slot, parent_round=state.round)
        first_round = max(entered, state.round + 1)
        check_first_round(rules, first_round, now)
        machine = RoundMachine(
            rules,
            me=me,
            sign=identity.sign,
            state=state,
            certificate=certificate,
            sign_from=first_round,
            parent_from=guard.parent_round(rules.config_digest),
        )
        transport.repeat_on_connecting(machine.own_messages)
        transmitter = None
        if settings.publish is not None and destination is not None:
            publishing = _publisher(
                settings, settings.publish, directory, keys=keys, rules=rules, store=store, clock=clock, status=status
            )
            publisher = await stack.enter_async_context(publishing)
            transmitter = await stack.enter_async_context(
                open_transmitter(publisher, destination, status=status, metrics=metrics, clock=clock)
            )
        else:
            _log.info("not publishing", detail="the settings have no [publish]: reports are certified and stay here")
        yield Node(
            rules=rules,
            me=me,
            first_round=first_round,
            machine=machine,
            sign=identity.sign,
            clock=clock,
            chains=chains,
            venues=venues,
            indexes=indexes,
            sources=sources,
            groups=groups,
            hourly_prices=hourly_prices,
            transport=transport,
            catch_up=CatchUp(),
            peers=Peers(rules.n, rules.slot_start_ms, metrics.registry),
            parameters=parameters,
            model=model_of(parameters, rules, agreed_settings(settings, venues)),
            executor=executor,
            store=store,
            guard=guard,
            signer=signer,
            destination=destination,
            transmitter=transmitter,
            rule=PublishingRule(heartbeat=settings.publish.heartbeat, deviation_ppm=settings.publish.deviation_ppm)
            if settings.publish is not None
            else PublishingRule(heartbeat=0, deviation_ppm=0),
            stage_seconds=0.0 if settings.publish is None else settings.publish.stage,
            retention=retention(
                rounds=settings.keep_rounds,
                days=settings.keep_days,
                megabytes=settings.keep_megabytes,
                interval_seconds=committee.round_interval_seconds,
            ),
            status=status,
            metrics=metrics,
            before_step=before_step,
        )


def _required(settings: Settings, directory: Path) -> tuple[Keys, Committee]:
    if settings.keys is None:
        raise InvalidData("[keys] is missing: a node needs its keystores", code="invalid_settings")
    if settings.committee_file is None:
        raise InvalidData(
            "committee_file is missing: say where `plimsoll deploy` wrote it, or where the copy of it lies",
            code="invalid_settings",
        )
    return settings.keys, load_committee(directory / settings.committee_file)


def _optional(directory: Path, name: str | None) -> Path | None:
    return None if name is None else directory / name


def _open_keys(stack: AsyncExitStack, keys: Keys, directory: Path) -> tuple[IdentityKey, LocalSigner, Guard]:
    password = directory / keys.password_file
    keystore = directory / keys.attestation
    signer = open_keystore(keystore, password)
    guard = stack.enter_context(open_guard(guard_path(keystore), signer.address))
    return open_identity(directory / keys.identity, password), signer, guard


async def _resume(
    store: Store, rules: AgreementRules, history: HourlyHistory
) -> tuple[AgreedState, Certificate | None]:
    """Return the state after the last certified report, or the genesis state."""
    last = await store.latest_adopted(Hash32(rules.config_digest))
    if last is None or last.certificate is None:
        return genesis_state(rules, history), None
    return decode_state(last.state), decode_certificate(last.certificate)


def _tell_faults(
    parameters: Parameters, market: MarketSettings, committee: Committee, sources: Sequence[MarketSource]
) -> None:
    """Say which factors of the settings do not fit the committee: rounds go on."""
    quoted, agreed = quoted_by(sources), committee.parameters.factors
    for fault in factor_faults(parameters.factors, market, quoted=quoted, agreed=agreed):
        _log.warning("factors do not fit", factors=fault.factors, detail=f"{fault.said}. {fault.remedy}")


@asynccontextmanager
async def _publisher(
    settings: Settings,
    publish: Publish,
    directory: Path,
    *,
    keys: Keys,
    rules: AgreementRules,
    store: Store,
    clock: Clock,
    status: NodeStatus,
) -> AsyncIterator[Publisher]:
    chain = next(chain for chain in settings.chains if chain.chain_id == publish.chain_id)
    async with open_publisher(
        endpoints=[endpoint_options(endpoint, directory) for endpoint in endpoints_of(chain)],
        chain_id=chain.chain_id,
        config_digest=Hash32(rules.config_digest),
        signer=open_keystore(directory / keys.transmitter, directory / keys.password_file),
        store=store,
        clock=clock,
        explain=lambda data: str(decode_revert(data)),
        limits=PublishLimits(
            max_fee_per_gas=publish.max_fee_gwei * GWEI,
            max_tip_per_gas=publish.max_tip_gwei * GWEI,
            daily_budget=publish.daily_budget_gwei * GWEI,
            rounds_per_day=rounds_per_day(rules.committee),
            deadline=publish.deadline,
            poll=publish.poll,
        ),
        genesis_hash=chain.genesis_hash,
        timeout_seconds=chain.timeout,
    ) as publisher:
        try:
            await publisher.check(publish.oracle)
        except TransientError as error:  # rounds need no money
            status.fail(PUBLISHER, error.code, at=clock.now(), detail=error.message)
        yield publisher
