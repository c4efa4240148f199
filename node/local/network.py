"""A complete network on the local chain: contracts, keys, committee, genesis history and settings.

What `./run` starts. Everything it writes (settings, committee, keys) has the form an operator would use, so the other
commands work on it: ``plimsoll positions ADDRESS --config plimsoll-data/devnet/plimsoll.toml``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from adapters.history.simulator import SimulatedFactor, simulate_history
from attest.formats.committee import Committee, ObservedChain
from attest.formats.eip712 import Destination
from attest.formats.parameters import AgreementParameters
from attest.hours.table import history_hash
from contracts.calls import encode_deployment
from contracts.deployment import Send, deploy, deploy_oracle, initialize_oracle
from devnet.deployment import Deployment
from devnet.local_chain import Devnet
from devnet.prices import answer_again, read_prices
from devnet.protocols import deployed_protocols, settings_table
from node.committee_file import write_committee
from node.committee_fit import discovery_rules
from node.key_files import ATTESTATION, IDENTITY, PASSWORD, TRANSMITTER, make_directory
from node.local.broker import network_lines
from node.local.operators import LocalOperator, committee_operators, free_port, local_operators
from node.round.reading import configured_venues
from node.settings import Api, Settings, load_settings
from riskschema.codec import encode_json
from riskschema.market import Group, HourlyHistory
from riskschema.units import ZERO_ADDRESS, Address, Hash32, Wad

VENUES = deployed_protocols()
"""In the order of their bits."""
FACTORS: dict[str, tuple[str, Group]] = {"WETH": ("ETH", "eth"), "WBTC": ("BTC", "btc"), "USDC": ("USDC", "stablecoin")}
ROUND_SECONDS = 4
ROUND_SECONDS_OF_SEVERAL = 8
SECONDS_OF_EACH = 2
"""Nodes share this machine's cores: each one more makes the slot longer."""
REPORT_LIFE_SECONDS = 3_600
BEHIND_THE_HEAD = 1
"""Blocks: while anvil mines one, calls at the hash of its newest may see the new state, or the old at the new time."""
RING_SIZE = 64
MAX_FUTURE_SKEW = 60
HISTORY_HOURS = 3 * 365 * 24
HISTORY_SEED = 20
POOL_MAX_SCORE = 500
POOL_MAX_AGE = 600
"""Choices of the demonstration network; an operator's own are in the committee file and the settings."""
WEI_PER_ANSWER = 10**10
"""Feeds answer with 8 decimals, prices have 18."""


class LocalNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """Where the pieces of a local network are."""

    operators: tuple[LocalOperator, ...]
    oracle: Address
    pool: Address
    settings: Settings
    """Of the first operator."""
    committee: Committee
    broker_port: int
    """Where the operators' broker is to listen; 0: a single operator needs none."""

    @property
    def config_file(self) -> Path:
        """Settings of the first operator."""
        return self.operators[0].config_file


def round_seconds(nodes: int) -> int:
    """Return the slot: several nodes on one machine take longer for a round, and wait for each other."""
    return ROUND_SECONDS if nodes == 1 else max(ROUND_SECONDS_OF_SEVERAL, SECONDS_OF_EACH * nodes)


def prepare_local_network(
    devnet: Devnet, directory: Path, *, port: int | None, now: int, nodes: int = 1, confirmations: int = 0
) -> LocalNetwork:
    """Deploy our contracts and write settings, committee, keys and history of every operator.

    Args:
        devnet: The running local chain.
        directory: Kept between runs: keys and databases stay, the rest is written anew for the fresh chain.
        port: HTTP port of the first operator's API; None for the default.
        now: Unix time at which round 0 begins.
        nodes: How many operators.
        confirmations: How many blocks the nodes stay behind the head.

    Raises:
        FatalError: keys of an earlier run cannot be opened.
    """
    make_directory(directory)
    # The seeding lies two days back; real feeds would have answered since.
    answer_again(devnet)
    operators = local_operators(directory, nodes)
    send, deployer = _sender(devnet), Address(devnet.deployment.deployer)
    deployed = deploy_oracle(send, initializer=deployer, ring_size=RING_SIZE)
    pool = _deploy_pool(devnet, deployed.oracle)
    history = genesis_history(devnet, now)
    broker_port = 0 if nodes == 1 else free_port()
    for index, operator in enumerate(operators):
        (operator.directory / "history.json").write_bytes(encode_json(history))
        ports = _own_ports(port, index, broker_port) if nodes > 1 else _only_ports(port)
        operator.config_file.write_text(_settings_text(devnet, deployed.oracle, ports, confirmations))
    settings = load_settings(operators[0].config_file)
    committee = _committee(devnet.deployment, settings, deployed.oracle, operators, history, now=now)
    for operator in operators:
        write_committee(operator.directory / "committee.json", committee)
        devnet.anvil.set_balance(operator.keys.transmitter, 10**21)
    initialize_oracle(send, deployed, committee, max_future_skew=MAX_FUTURE_SKEW, guardian=deployer)
    return LocalNetwork(
        operators=operators,
        oracle=deployed.oracle,
        pool=pool,
        settings=settings,
        committee=committee,
        broker_port=broker_port,
    )


def genesis_history(devnet: Devnet, now: int) -> HourlyHistory:
    """Simulate three years of hourly prices that end at the prices the chain's feeds show now."""
    return simulate_history(
        simulated_factors(devnet),
        hours=HISTORY_HOURS,
        seed=HISTORY_SEED,
        first_hour=now - now % 3_600 - HISTORY_HOURS * 3_600,
    )


def simulated_factors(devnet: Devnet) -> list[SimulatedFactor]:
    """Return the chain's assets as factors at the prices their feeds show now."""
    return [
        SimulatedFactor(factor=FACTORS[symbol][0], price=Wad(price * WEI_PER_ANSWER), group=FACTORS[symbol][1])
        for symbol, price in read_prices(devnet).items()
    ]


def _committee(
    deployment: Deployment,
    settings: Settings,
    oracle: Address,
    operators: Sequence[LocalOperator],
    history: HourlyHistory,
    *,
    now: int,
) -> Committee:
    return Committee(
        config_count=0,
        operators=committee_operators(operators),
        destinations=(Destination(chain_id=deployment.chain_id, oracle=oracle),),
        chains=(ObservedChain(chain_id=deployment.chain_id, genesis_hash=Hash32(deployment.genesis_hash).to_bytes()),),
        venues=discovery_rules(configured_venues(settings.chains[0]), account_cap=10_000),
        history_hash=history_hash(history),
        genesis_time=now,
        round_interval_seconds=round_seconds(len(operators)),
        report_life_seconds=REPORT_LIFE_SECONDS,
        account_cap=10_000,
        requests_per_operator=8,
        parameters=AgreementParameters(factors=tuple(sorted(factor for factor, _ in FACTORS.values()))),
    )


def _sender(devnet: Devnet) -> Send:
    deployer = devnet.deployment.deployer

    def send(to: Address | None, data: bytes) -> Address | None:
        fields = {"from": deployer, "data": "0x" + data.hex()} | ({} if to is None else {"to": to})
        created = devnet.transact(fields, what="deploying our contracts")["contractAddress"]
        return None if created is None else Address(created)

    return send


def _deploy_pool(devnet: Devnet, oracle: Address) -> Address:
    asset = devnet.deployment.asset("USDC").token
    every_venue = (1 << len(VENUES)) - 1
    code = encode_deployment("ExamplePool", oracle, asset, POOL_MAX_SCORE, POOL_MAX_AGE, every_venue)
    return deploy(_sender(devnet), code)


def _only_ports(port: int | None) -> list[str]:
    return ["[monitoring]", "port = 0", *([] if port is None else ["", "[api]", f"port = {port}"])]


def _own_ports(port: int | None, index: int, broker_port: int) -> list[str]:
    """Return where one of several nodes listens and whom it calls; the first serves the API."""
    serving = f"port = {free_port() if port == 0 else port or Api().port}" if index == 0 else "serve = false"
    return [*network_lines(broker_port), "", "[monitoring]", f"port = {free_port()}", "", "[api]", serving]


def _settings_text(devnet: Devnet, oracle: Address, ports: Sequence[str], confirmations: int) -> str:
    deployment = devnet.deployment
    lines = [
        "# Written by `plimsoll run --devnet` for the local chain it started.",
        'data_directory = "."',
        'committee_file = "committee.json"',
        "",
        "[keys]",
        f'attestation = "keys/{ATTESTATION}"',
        f'identity = "keys/{IDENTITY}"',
        f'transmitter = "keys/{TRANSMITTER}"',
        f'password_file = "keys/{PASSWORD}"',
        "",
        "[market]",
        'history_file = "history.json"',
        "",
        "[market.groups]",
        *(f'{factor} = "{group}"' for factor, group in FACTORS.values()),
        "",
        "[[market.sources]]",
        'source = "chainlink"',
        f"chain_id = {deployment.chain_id}",
    ]
    for asset in deployment.assets:
        factor, _ = FACTORS[asset.symbol]
        lines += ["", "[[market.sources.feeds]]", f'factor = "{factor}"', f'address = "{Address(asset.feed)}"']
    lines += ["", *_chain_lines(devnet, confirmations)]
    lines += [
        "",
        "[publish]",
        f"chain_id = {deployment.chain_id}",
        f'oracle = "{oracle}"',
        "deadline = 20",
        "poll = 0.05",
        "stage = 4",
    ]
    lines += ["", *ports]
    return "\n".join(lines) + "\n"


def _chain_lines(devnet: Devnet, confirmations: int) -> list[str]:
    deployment = devnet.deployment
    lines = [
        "[[chains]]",
        f"chain_id = {deployment.chain_id}",
        f'rpc_url = "{devnet.url}"',
        f'genesis_hash = "{deployment.genesis_hash}"',
        'finality = "latest"',
        f"confirmations = {confirmations}",
    ]
    native = [(ZERO_ADDRESS, FACTORS["WETH"][0])]
    tokens = [(Address(asset.token), FACTORS[asset.symbol][0]) for asset in deployment.assets]
    for address, factor in native + tokens:
        lines += ["", "[[chains.assets]]", f'address = "{address}"', f'factor = "{factor}"']
    for protocol in VENUES:
        lines += ["", "[[chains.venues]]", f'protocol = "{protocol}"', f"start_block = {deployment.start_block}"]
        # texts and lists of texts are written alike in JSON and TOML
        lines += [f"{key} = {json.dumps(value)}" for key, value in settings_table(protocol, deployment).items()]
    return lines
