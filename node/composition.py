"""Open a node: things are opened in reading order and closed in reverse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from adapters.markets.chainlink import ChainlinkFeeds, PriceFeed
from aggregator.parameters import load_parameters
from attest.certificate import Certificate, decode_certificate
from attest.committee import Committee, round_at
from attest.eip712 import Destination
from attest.guard import Guard, guard_path, open_guard
from attest.identity import IdentityKey
from attest.keystore import LocalSigner, open_identity, open_keystore
from attest.rounds import RoundMachine
from attest.rules import AgreementRules
from attest.state import AgreedState, genesis_state
from attest.state_format import decode_state
from contracts.calls import decode_revert
from node.committee_file import load_committee
from node.hourly_prices import HourlyPrices
from node.node import Node, StepHook, SystemClock, ThreadExecutor, no_hook
from node.outbox import PublishLimits
from node.publisher import open_publisher
from node.reading import ConfiguredVenue, configured_venues, open_chains
from node.report import Model
from node.settings import Chain, Keys, Market, Publish, Settings, read_text, rpc_url
from node.status import NodeStatus
from node.telemetry import Metrics
from riskschema.codec import MAX_DOCUMENT_BYTES, decode_json
from riskschema.errors import FatalError, InvalidData
from riskschema.market import HourlyHistory
from riskschema.ports import ChainReader, Clock, MarketSource, Publisher, Store
from riskschema.units import Hash32
from storage.store import open_store

GWEI = 10**9


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
        TransientError: an endpoint does not answer.
    """
    clock = clock or SystemClock()
    keys, committee = _required(settings, directory)
    history = load_history(settings.market, directory)
    rules = AgreementRules.of(committee)
    parameters = load_parameters(_optional(directory, settings.parameters_file))
    venues = tuple(venue for chain in settings.chains for venue in configured_venues(chain))
    check_agreement(settings, committee, venues)
    async with AsyncExitStack() as stack:
        identity, signer, guard = _open_keys(stack, keys, directory)
        me = _my_index(committee, signer)
        data = directory / settings.data_directory
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = await stack.enter_async_context(open_store(data / settings.database))
        chains = await open_chains(stack, settings.chains, directory)
        now = max(int(clock.now()), committee.genesis_time)
        first_round = guard.enter(rules.config_digest, round_at(committee, now))
        state, certificate = await _resume(store, rules, history)
        publisher = None
        if settings.publish is not None:
            chain = _chain(settings, settings.publish.chain_id)
            network = Hash32(rules.config_digest)
            opening = _publisher(
                settings.publish, chain, directory, keys=keys, network=network, store=store, clock=clock
            )
            publisher = await stack.enter_async_context(opening)
        status = NodeStatus(round_interval=committee.round_interval_seconds)
        yield Node(
            rules=rules,
            me=me,
            first_round=first_round,
            machine=RoundMachine(rules, me=me, sign=identity.sign, state=state, certificate=certificate),
            clock=clock,
            chains=chains,
            venues=venues,
            sources=market_sources(settings.market, chains),
            groups={feed.factor: feed.group for feed in settings.market.feeds},
            hourly_prices=HourlyPrices(history),
            parameters=parameters,
            model=Model(parameters_hash=parameters.hash, version=parameters.model_version),
            executor=ThreadExecutor(),
            store=store,
            guard=guard,
            signer=signer,
            publisher=publisher,
            destination=_destination(settings, committee),
            status=status,
            metrics=Metrics(status),
            before_step=before_step,
        )


def load_history(market: Market, directory: Path) -> HourlyHistory:
    """Read the committee's genesis history.

    Raises:
        InvalidData: there is none, or it cannot be read.
    """
    if market.history_file is None:
        raise InvalidData("market.history_file is missing: the committee's genesis history", code="invalid_settings")
    path = directory / market.history_file
    text = read_text(path, what="history", limit=MAX_DOCUMENT_BYTES)
    return decode_json(text.encode(), HourlyHistory, what=str(path))


def market_sources(market: Market, chains: dict[int, ChainReader]) -> tuple[MarketSource, ...]:
    """Return one source per chain that has feeds."""
    return tuple(
        ChainlinkFeeds(
            chains[chain_id],
            [
                PriceFeed(
                    factor=feed.factor,
                    address=feed.address,
                    group=feed.group,
                    heartbeat=feed.heartbeat,
                    deviation=feed.deviation,
                )
                for feed in market.feeds
                if feed.chain_id == chain_id
            ],
        )
        for chain_id in sorted({feed.chain_id for feed in market.feeds})
    )


def check_agreement(settings: Settings, committee: Committee, venues: tuple[ConfiguredVenue, ...]) -> None:
    """Refuse settings under which this node could not compute what the committee computes.

    Raises:
        InvalidData: naming what differs.
    """
    asked = [(rule.venue, rule.chain_id, rule.start_block) for rule in committee.venues]
    given = [(venue.label, venue.chain_id, venue.from_block) for venue in venues]
    if asked != given:
        raise InvalidData(
            f"the committee reads (venue, chain, from block) {asked}, the settings configure {given}: "
            "make [[chains.venues]] the same, in the same order",
            code="invalid_settings",
        )
    by_id = {chain.chain_id: chain for chain in settings.chains}
    for observed in committee.chains:
        chain = by_id.get(observed.chain_id)
        wanted = Hash32(observed.genesis_hash)
        if chain is None or chain.genesis_hash != wanted:
            raise InvalidData(
                f"the committee reads chain {observed.chain_id} with genesis {wanted}: "
                "give that chain this genesis_hash in the settings",
                code="invalid_settings",
            )


def _required(settings: Settings, directory: Path) -> tuple[Keys, Committee]:
    if settings.keys is None:
        raise InvalidData("[keys] is missing: a node needs its keystores", code="invalid_settings")
    if settings.committee_file is None:
        raise InvalidData("committee_file is missing: a node needs its committee", code="invalid_settings")
    return settings.keys, load_committee(directory / settings.committee_file)


def _optional(directory: Path, name: str | None) -> Path | None:
    return None if name is None else directory / name


def _open_keys(stack: AsyncExitStack, keys: Keys, directory: Path) -> tuple[IdentityKey, LocalSigner, Guard]:
    password = directory / keys.password_file
    keystore = directory / keys.attestation
    signer = open_keystore(keystore, password)
    guard = stack.enter_context(open_guard(guard_path(keystore), signer.address))
    return open_identity(directory / keys.identity, password), signer, guard


def _my_index(committee: Committee, signer: LocalSigner) -> int:
    if signer.address not in committee.signers:
        raise FatalError(
            f"the attestation key {signer.address} is none of the committee's: {', '.join(committee.signers)}",
            code="key_unreadable",
        )
    return committee.signers.index(signer.address)


async def _resume(
    store: Store, rules: AgreementRules, history: HourlyHistory
) -> tuple[AgreedState, Certificate | None]:
    """Return the state after the last certified report, or the genesis state."""
    last = await store.latest_certified(Hash32(rules.config_digest))
    if last is None or last.certificate is None:
        return genesis_state(rules, history), None
    return decode_state(last.state), decode_certificate(last.certificate)


@asynccontextmanager
async def _publisher(
    publish: Publish, chain: Chain, directory: Path, *, keys: Keys, network: Hash32, store: Store, clock: Clock
) -> AsyncIterator[Publisher]:
    async with open_publisher(
        rpc_url=rpc_url(chain, directory),
        chain_id=chain.chain_id,
        network=network,
        signer=open_keystore(directory / keys.transmitter, directory / keys.password_file),
        store=store,
        clock=clock,
        explain=lambda data: str(decode_revert(data)),
        limits=PublishLimits(max_fee_per_gas=publish.max_fee_gwei * GWEI, deadline=publish.deadline, poll=publish.poll),
        genesis_hash=chain.genesis_hash,
        timeout_seconds=chain.timeout,
    ) as publisher:
        yield publisher


def _chain(settings: Settings, chain_id: int) -> Chain:
    return next(chain for chain in settings.chains if chain.chain_id == chain_id)


def _destination(settings: Settings, committee: Committee) -> Destination | None:
    if settings.publish is None:
        return None
    wanted = Destination(chain_id=settings.publish.chain_id, oracle=settings.publish.oracle)
    if wanted not in committee.destinations:
        raise InvalidData(
            f"publish: {wanted.oracle} on chain {wanted.chain_id} is no destination of the committee",
            code="invalid_settings",
        )
    return wanted
