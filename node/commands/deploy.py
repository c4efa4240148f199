"""`plimsoll deploy`: the contract and the committee file of a network of one operator, on a chain of the settings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Unpack

import click
import msgspec

from adapters.chains import Chain as OpenChain
from attest.encoding.canonical_json import encode_canonical
from attest.formats.committee import Committee, ObservedChain, Operator
from attest.formats.eip712 import Destination
from attest.formats.parameters import AgreementParameters
from attest.hours.table import history_hash
from attest.keys.joining import Draft
from attest.keys.keystore import LocalSigner, open_identity, open_keystore
from contracts.calls import decode_revert
from contracts.deployment import OracleContracts, Send, deploy_oracle, initialize_oracle
from node.checksums import checked_address
from node.commands.documents import require_directory_of
from node.commands.network.founding import FoundingChoices
from node.committee_file import load_agreement, load_history, write_committee
from node.committee_fit import discovery_rules
from node.endpoints.opening import open_chains
from node.publishing.deploying import GWEI, Deployer, open_deployer
from node.round.reading import configured_venues
from node.settings import Chain, Keys, Settings, load_settings, own_url
from node.telemetry import configure_logging
from riskschema.codec import encode_json
from riskschema.errors import FatalError, InvalidData
from riskschema.market import HourlyHistory
from riskschema.ports import ChainReader
from riskschema.units import WAD, ZERO_ADDRESS, Address

ACCOUNT_CAP = 10_000
REQUESTS_PER_OPERATOR = 8
GAS_OF_ALL = 5_000_000
"""What the three transactions use together, rounded up: for the question before they are sent."""
PATIENCE_SECONDS = 600.0
HOUR = 3_600
MAX_HISTORY_GAP_HOURS = 7 * 24


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """What `deploy` made."""

    chain_id: int
    oracle: Address
    verifier: Address
    committee_file: str
    gas: int


class _Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a committee agrees on besides what the settings say."""

    round_interval: int
    report_life: int
    ring_size: int
    guardian: Address | None
    agreement: AgreementParameters = AgreementParameters()


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    settings: Settings
    directory: Path
    keys: Keys
    committee_path: Path
    destination: Chain
    terms: _Terms


def deploy_network(config: Path, *, as_json: bool, **chosen: Unpack[FoundingChoices]) -> None:
    """Deploy, write the committee file, initialise; say what to add to the settings.

    Raises:
        InvalidData: the settings lack something, or a committee file exists; nothing is sent.
        FatalError: the account cannot pay, or a transaction failed.
        TransientError: an endpoint failed.
    """
    configure_logging(level="ERROR")
    settings = load_settings(config)
    plan = _Plan(
        settings=settings,
        directory=config.parent,
        keys=_keys(settings),
        committee_path=_committee_path(settings, config.parent),
        destination=_destination(settings, chosen["chain_id"]),
        terms=_terms(chosen),
    )
    deployed = asyncio.run(_deploy(plan, chosen["max_fee_gwei"] * GWEI, confirmed=chosen["confirmed"]))
    if as_json:
        click.echo(encode_json(deployed))
        return
    click.echo(f"{deployed.committee_file}: a committee of one; every operator needs these very bytes")
    click.echo("Add to the settings:\n")
    click.echo(f'[publish]\nchain_id = {deployed.chain_id}\noracle = "{deployed.oracle}"')


def draft_network(config: Path, output: Path, *, begins_in: int, chosen: FoundingChoices) -> Draft:
    """Deploy the contracts of a committee whose operators are to join; write the draft, and return it.

    Args:
        config: Settings of the operator who begins.
        output: Where the draft goes.
        begins_in: Seconds until round 0: time to join.
        chosen: What is agreed on besides the settings, and how to pay.

    Raises:
        InvalidData: the settings lack something, or the draft exists; nothing is sent.
        FatalError: the account cannot pay, or a transaction failed.
        TransientError: an endpoint failed.
    """
    configure_logging(level="ERROR")
    settings = load_settings(config)
    if output.exists():
        raise InvalidData(f"{output}: exists already", code="invalid_settings")
    require_directory_of(output, what="--output")
    plan = _Plan(
        settings=settings,
        directory=config.parent,
        keys=_keys(settings),
        committee_path=output,
        destination=_destination(settings, chosen["chain_id"]),
        terms=_terms(chosen),
    )
    return asyncio.run(_draft(plan, chosen["max_fee_gwei"] * GWEI, begins_in, confirmed=chosen["confirmed"]))


def _terms(chosen: FoundingChoices) -> _Terms:
    guardian = chosen["guardian"]
    return _Terms(
        round_interval=chosen["round_interval"],
        report_life=chosen["report_life"],
        ring_size=chosen["ring_size"],
        guardian=None if guardian is None else checked_address(guardian, what="--guardian"),
        agreement=load_agreement(chosen["agreement"]),
    )


def initialise_network(config: Path, draft: Draft, committee: Committee, *, max_fee_gwei: int, confirmed: bool) -> None:
    """Initialise the contract of a draft with the committee of those who joined: once, by who drafted it.

    Raises:
        InvalidData: the settings lack something.
        FatalError: the account cannot pay, or the transaction failed.
        TransientError: an endpoint failed.
    """
    configure_logging(level="ERROR")
    settings = load_settings(config)
    destination = committee.destinations[0]
    guardian = None if draft.guardian == ZERO_ADDRESS else draft.guardian
    plan = _Plan(
        settings=settings,
        directory=config.parent,
        keys=_keys(settings),
        committee_path=config,
        destination=_destination(settings, destination.chain_id),
        terms=_Terms(round_interval=0, report_life=0, ring_size=0, guardian=guardian),
    )
    contracts = OracleContracts(verifier=draft.verifier, oracle=destination.oracle)
    asyncio.run(_initialise(plan, contracts, committee, max_fee_gwei * GWEI, confirmed=confirmed))


async def _deploy(plan: _Plan, max_fee: int, *, confirmed: bool) -> Deployed:
    history = _history(plan)
    async with _opened(plan, max_fee, confirmed=confirmed) as (deployer, send):
        contracts = await _contracts(plan, send)
        committee = _committee(plan, contracts.oracle, history_hash(history), (_operator(plan),), now=int(time.time()))
        write_committee(plan.committee_path, committee)
        await asyncio.to_thread(initialize_oracle, send, contracts, committee, guardian=plan.terms.guardian)
        return Deployed(
            chain_id=plan.destination.chain_id,
            oracle=contracts.oracle,
            verifier=contracts.verifier,
            committee_file=str(plan.committee_path),
            gas=deployer.gas_used,
        )


async def _draft(plan: _Plan, max_fee: int, begins_in: int, *, confirmed: bool) -> Draft:
    history = _history(plan)
    async with _opened(plan, max_fee, confirmed=confirmed) as (_, send):
        contracts = await _contracts(plan, send)
    committee = _committee(plan, contracts.oracle, history_hash(history), (), now=int(time.time()) + begins_in)
    draft = Draft(committee=committee, verifier=contracts.verifier, guardian=plan.terms.guardian or ZERO_ADDRESS)
    plan.committee_path.write_bytes(encode_canonical(draft) + b"\n")
    return draft


async def _initialise(
    plan: _Plan, contracts: OracleContracts, committee: Committee, max_fee: int, *, confirmed: bool
) -> None:
    async with _opened(plan, max_fee, confirmed=confirmed) as (_, send):
        await asyncio.to_thread(initialize_oracle, send, contracts, committee, guardian=plan.terms.guardian)


async def _contracts(plan: _Plan, send: Send) -> OracleContracts:
    signer = _keystore(plan, plan.keys.transmitter)
    return await asyncio.to_thread(deploy_oracle, send, initializer=signer.address, ring_size=plan.terms.ring_size)


def _history(plan: _Plan) -> HourlyHistory:
    history = load_history(plan.settings.market, plan.directory)
    _require_recent(history, now=int(time.time()))
    return history


@asynccontextmanager
async def _opened(plan: _Plan, max_fee: int, *, confirmed: bool) -> AsyncIterator[tuple[Deployer, Send]]:
    """Open the way to the chain, once it is clear that the account can pay and that it may."""
    signer = _keystore(plan, plan.keys.transmitter)
    chain = plan.destination
    async with AsyncExitStack() as stack:
        _require_genesis(plan.settings, await open_chains(stack, plan.settings.chains, plan.directory))
        opening = open_deployer(
            rpc_url=own_url(chain, plan.directory),
            chain_id=chain.chain_id,
            signer=signer,
            explain=lambda data: str(decode_revert(data)),
            max_fee_per_gas=max_fee,
            patience=PATIENCE_SECONDS,
            timeout_seconds=chain.timeout,
        )
        deployer = await stack.enter_async_context(opening)
        await _require_means(deployer, signer.address, chain.chain_id, confirmed=confirmed)
        yield deployer, _blocking(deployer, asyncio.get_running_loop())


def _blocking(deployer: Deployer, loop: asyncio.AbstractEventLoop) -> Send:
    """Return a plain function that sends, for a thread beside the loop."""

    def send(to: Address | None, data: bytes) -> Address | None:
        return asyncio.run_coroutine_threadsafe(deployer.send(to, data), loop).result()

    return send


async def _require_means(deployer: Deployer, account: Address, chain_id: int, *, confirmed: bool) -> None:
    """Refuse an account that cannot pay; ask a person before money is spent."""
    most = GAS_OF_ALL * (await deployer.fees()).max_fee
    balance = await deployer.balance()
    if balance < most:
        raise FatalError(
            f"the transmitter account {account} on chain {chain_id} has {balance / WAD:g} of the chain's coin; "
            f"deploying may take up to {most / WAD:g}: send it some",
            code="transmitter_unfunded",
        )
    if not confirmed:
        question = f"Send three transactions from {account} on chain {chain_id}, for at most {most / WAD:g} coins?"
        click.confirm(question, abort=True, err=True)


def _require_recent(history: HourlyHistory, *, now: int) -> None:
    """Refuse a history with a hole before genesis: hours without prices count as hours without moves."""
    behind = now - now % HOUR - (history.first_hour + history.hours * HOUR)
    if not 0 <= behind <= MAX_HISTORY_GAP_HOURS * HOUR:
        gap = "after now" if behind < 0 else f"{-(-behind // (24 * HOUR)):,} days ago"
        raise InvalidData(
            f"market.history_file: its last hour ends {gap}; a network begins with one that ends within the last "
            f"{MAX_HISTORY_GAP_HOURS // 24} days: get newer candles and run `plimsoll history` again",
            code="invalid_settings",
        )


def _require_genesis(settings: Settings, chains: Mapping[int, ChainReader]) -> None:
    for chain in settings.chains:
        reader = chains[chain.chain_id]
        if chain.genesis_hash is None and isinstance(reader, OpenChain):
            raise InvalidData(
                f"chain {chain.chain_id}: genesis_hash is missing: its endpoint says {reader.genesis_hash}; compare "
                "that with another source and write it into the settings",
                code="invalid_settings",
            )


def _operator(plan: _Plan) -> Operator:
    password = plan.directory / plan.keys.password_file
    return Operator(
        signer=_keystore(plan, plan.keys.attestation).address,
        identity=open_identity(plan.directory / plan.keys.identity, password).public_key,
    )


def _committee(plan: _Plan, oracle: Address, history: bytes, operators: tuple[Operator, ...], *, now: int) -> Committee:
    chains = sorted(plan.settings.chains, key=lambda chain: chain.chain_id)
    venues = [venue for chain in plan.settings.chains for venue in configured_venues(chain)]
    return Committee(
        config_count=0,
        operators=operators,
        destinations=(Destination(chain_id=plan.destination.chain_id, oracle=oracle),),
        chains=tuple(
            ObservedChain(chain_id=chain.chain_id, genesis_hash=chain.genesis_hash.to_bytes())
            for chain in chains
            if chain.genesis_hash is not None
        ),
        venues=discovery_rules(venues, account_cap=ACCOUNT_CAP),
        history_hash=history,
        genesis_time=now,
        round_interval_seconds=plan.terms.round_interval,
        report_life_seconds=plan.terms.report_life,
        account_cap=ACCOUNT_CAP,
        requests_per_operator=REQUESTS_PER_OPERATOR,
        parameters=plan.terms.agreement,
    )


def _keystore(plan: _Plan, name: str) -> LocalSigner:
    return open_keystore(plan.directory / name, plan.directory / plan.keys.password_file)


def _keys(settings: Settings) -> Keys:
    if settings.keys is None:
        raise InvalidData("[keys] is missing: make keys with `plimsoll keys create`", code="invalid_settings")
    return settings.keys


def _committee_path(settings: Settings, directory: Path) -> Path:
    if settings.committee_file is None:
        raise InvalidData("committee_file is missing: say where the committee goes", code="invalid_settings")
    path = directory / settings.committee_file
    if path.exists():
        raise InvalidData(f"{path}: exists already: this network is founded", code="invalid_settings")
    require_directory_of(path, what="committee_file")
    return path


def _destination(settings: Settings, chain_id: int | None) -> Chain:
    if chain_id is None and len(settings.chains) == 1:
        return settings.chains[0]
    for chain in settings.chains:
        if chain.chain_id == chain_id:
            return chain
    known = ", ".join(str(chain.chain_id) for chain in settings.chains)
    raise InvalidData(f"choose the chain to deploy on with --chain: {known}", code="invalid_settings")
