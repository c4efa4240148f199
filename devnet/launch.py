"""Start the local chain, deploy the protocols, seed the users: the devnet's one way in."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from devnet.anvil import DEFAULT_CHAIN_ID, Anvil, run_anvil
from devnet.assets import ASSETS
from devnet.deployment import (
    DeployedAave,
    DeployedAsset,
    DeployedMorpho,
    DeployedMorphoMarket,
    DeployedPool,
    DeployedUniswap,
    DeployedUser,
    Deployment,
)
from devnet.local_chain import Devnet
from devnet.protocols.aave_v3 import Aave, deploy_aave
from devnet.protocols.morpho_blue import Morpho, deploy_morpho
from devnet.protocols.uniswap_v3 import Uniswap, deploy_uniswap
from devnet.seeding import Seeding
from devnet.tokens import Tokens, deploy_tokens
from devnet.toolchain.artifacts import Artifact, load_artifacts
from devnet.toolchain.packages import Progress, default_cache, find_anvil
from devnet.transactions import Transactions, checksum_address
from devnet.users import USERS

__all__ = ["FIXED_GENESIS", "HISTORY_SECONDS", "Devnet", "launch", "start_devnet"]

DEPLOYER, OPERATOR, TRADER, LIQUIDATOR, TREASURY, FIRST_USER = 0, 1, 2, 3, 4, 10
HISTORY_SECONDS = 2 * 86_400
FIXED_GENESIS = 1_700_000_000


def silent(_: str) -> None:
    """Report nothing."""


@contextmanager
def launch(
    *,
    cache: Path | None = None,
    port: int = 0,
    host: str = "127.0.0.1",
    chain_id: int = DEFAULT_CHAIN_ID,
    genesis_timestamp: int | None = None,
    progress: Progress = silent,
) -> Iterator[Devnet]:
    """Run a seeded local chain until the block ends.

    Args:
        cache: Where packages and compiled contracts are kept; `default_cache()` when left out.
        port: 0 for any free one.
        host: Address to listen on: loopback, unless it is for other containers.
        chain_id: EIP-155 chain id.
        genesis_timestamp: Unix seconds of block 0. The seeding ends `HISTORY_SECONDS` later. When
            left out it ends now and the chain's clock goes on with the wall clock; when given, the
            chain is the same to the last hash every time and each later block is 1 s after its
            parent.
        progress: Called with one line per step that takes time.

    Raises:
        DevnetError: Something needed is missing, refused or failed; the message says what to do.
    """
    folder = default_cache() if cache is None else cache
    binary = find_anvil(cache=folder, progress=progress)
    artifacts = load_artifacts(cache=folder, progress=progress)
    genesis = int(time.time()) - HISTORY_SECONDS if genesis_timestamp is None else genesis_timestamp
    with run_anvil(binary, port=port, host=host, chain_id=chain_id, genesis_timestamp=genesis) as anvil:
        progress("deploying Aave v3, Morpho Blue and Uniswap v3 and seeding users")
        anvil.rpc.request("evm_setAutomine", False)
        deployment = _deploy(anvil, artifacts, chain_id=chain_id, genesis=genesis)
        anvil.rpc.request("evm_setAutomine", True)
        if genesis_timestamp is not None:
            anvil.rpc.request("anvil_setBlockTimestampInterval", 1)
        yield Devnet(anvil=anvil, deployment=deployment, artifacts=artifacts)


@asynccontextmanager
async def start_devnet(
    *,
    cache: Path | None = None,
    port: int = 0,
    chain_id: int = DEFAULT_CHAIN_ID,
    genesis_timestamp: int | None = None,
    progress: Progress = silent,
) -> AsyncIterator[Devnet]:
    """Run a seeded local chain without blocking the event loop (see `launch`)."""
    context = launch(
        cache=cache,
        port=port,
        chain_id=chain_id,
        genesis_timestamp=genesis_timestamp,
        progress=progress,
    )
    starting = asyncio.ensure_future(asyncio.to_thread(context.__enter__))
    try:
        yield await asyncio.shield(starting)
    finally:
        # a start that was cancelled goes on in its thread: what it started is stopped here
        await asyncio.wait([starting])
        if starting.exception() is None:
            await asyncio.to_thread(context.__exit__, None, None, None)


def _deploy(anvil: Anvil, artifacts: dict[str, Artifact], *, chain_id: int, genesis: int) -> Deployment:
    accounts = tuple(checksum_address(a) for a in anvil.rpc.request("eth_accounts"))
    transactions = Transactions(anvil.rpc, accounts=accounts, artifacts=artifacts, timestamp=genesis + 12)
    tokens = deploy_tokens(transactions)
    aave = deploy_aave(transactions, tokens)
    morpho = deploy_morpho(transactions, tokens)
    uniswap = deploy_uniswap(transactions, tokens)
    recipes = {accounts[FIRST_USER + i]: recipe for i, recipe in enumerate(USERS)}
    seeding = Seeding(
        transactions,
        tokens=tokens,
        aave=aave,
        morpho=morpho,
        uniswap=uniswap,
        treasury=accounts[TREASURY],
        trader=accounts[TRADER],
    )
    seeding.fund(accounts[LIQUIDATOR])
    seeding.run(recipes, end=genesis + HISTORY_SECONDS)
    return Deployment(
        chain_id=chain_id,
        genesis_hash=anvil.rpc.request("eth_getBlockByNumber", "0x0", False)["hash"],
        start_block=1,
        seeded_block=anvil.block_number(),
        deployer=accounts[DEPLOYER],
        price_board=tokens.price_board.address,
        operator=accounts[OPERATOR],
        liquidator=accounts[LIQUIDATOR],
        trader=accounts[TRADER],
        assets=_assets(tokens),
        aave=_aave(aave),
        morpho=_morpho(morpho),
        uniswap=_uniswap(uniswap),
        users=tuple(
            DeployedUser(name=recipe.name, address=account, story=recipe.story) for account, recipe in recipes.items()
        ),
    )


def _assets(tokens: Tokens) -> tuple[DeployedAsset, ...]:
    return tuple(
        DeployedAsset(
            symbol=symbol,
            decimals=asset.decimals,
            token=tokens.tokens[symbol].address,
            feed=tokens.feeds[symbol].address,
        )
        for symbol, asset in ASSETS.items()
    )


def _aave(aave: Aave) -> DeployedAave:
    return DeployedAave(
        addresses_provider=aave.addresses_provider.address,
        pool=aave.pool.address,
        oracle=aave.oracle.address,
        data_provider=aave.data_provider.address,
    )


def _morpho(morpho: Morpho) -> DeployedMorpho:
    return DeployedMorpho(
        singleton=morpho.singleton.address,
        interest_rate_model=morpho.interest_rate_model.address,
        markets=tuple(
            DeployedMorphoMarket(
                market_id=market.market_id,
                collateral=market.collateral,
                loan=market.loan,
                oracle=market.oracle.address,
                lltv_wad=str(market.parameters[4]),
            )
            for market in morpho.markets.values()
        ),
    )


def _uniswap(uniswap: Uniswap) -> DeployedUniswap:
    return DeployedUniswap(
        factory=uniswap.factory.address,
        position_manager=uniswap.position_manager.address,
        router=uniswap.router.address,
        pools=tuple(
            DeployedPool(
                address=pool.contract.address,
                token0=pool.token0,
                token1=pool.token1,
                fee_pips=pool.fee_pips,
            )
            for pool in uniswap.pools.values()
        ),
    )
