"""The addresses of one local chain, as a value that is saved and loaded as JSON."""

import msgspec


class DeployedAsset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token and its USD feed (8 decimals)."""

    symbol: str
    decimals: int
    token: str
    feed: str


class DeployedAave(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Aave v3 market."""

    addresses_provider: str
    pool: str
    oracle: str
    data_provider: str


class DeployedMorphoMarket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Morpho market: symbols, its id (bytes32 hex), oracle and LLTV (1e18)."""

    market_id: str
    collateral: str
    loan: str
    oracle: str
    lltv_wad: str


class DeployedMorpho(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Morpho Blue and its markets."""

    singleton: str
    interest_rate_model: str
    markets: tuple[DeployedMorphoMarket, ...]


class DeployedPool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Uniswap v3 pool; token0 and token1 are symbols."""

    address: str
    token0: str
    token1: str
    fee_pips: int


class DeployedUniswap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Uniswap v3."""

    factory: str
    position_manager: str
    router: str
    pools: tuple[DeployedPool, ...]


class DeployedUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A seeded user; `name` is the key of its recipe in `devnet.users`."""

    name: str
    address: str
    story: str


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a node or a test needs to know about a local chain.

    Attributes:
        chain_id: EIP-155 chain id.
        genesis_hash: Hash of block 0.
        start_block: First block with protocol contracts; account discovery starts here.
        seeded_block: Last block of the seeding.
        deployer: Unlocked account that administers the protocols and moves the feeds.
        price_board: Contract that sets several feeds in one transaction.
        operator: Unlocked, funded account kept free for a node's transactions.
        liquidator: Unlocked account with all three tokens, for liquidations.
        trader: Unlocked account with all three tokens that moves pool prices.
    """

    chain_id: int
    genesis_hash: str
    start_block: int
    seeded_block: int
    deployer: str
    price_board: str
    operator: str
    liquidator: str
    trader: str
    assets: tuple[DeployedAsset, ...]
    aave: DeployedAave
    morpho: DeployedMorpho
    uniswap: DeployedUniswap
    users: tuple[DeployedUser, ...]

    def asset(self, symbol: str) -> DeployedAsset:
        """Return an asset by its symbol."""
        return next(asset for asset in self.assets if asset.symbol == symbol)

    def user(self, name: str) -> DeployedUser:
        """Return a user by the name of its recipe."""
        return next(user for user in self.users if user.name == name)

    def market(self, collateral: str, loan: str) -> DeployedMorphoMarket:
        """Return a Morpho market by the symbols of collateral and loan."""
        return next(market for market in self.morpho.markets if (market.collateral, market.loan) == (collateral, loan))

    def pool(self, symbol: str, other: str) -> DeployedPool:
        """Return the Uniswap pool of two symbols, in either order."""
        return next(pool for pool in self.uniswap.pools if {pool.token0, pool.token1} == {symbol, other})


def to_json(deployment: Deployment) -> str:
    """Return a deployment as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(deployment), indent=2).decode()
