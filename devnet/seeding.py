"""Put the users of `devnet.users` and their counterparties on the chain.

Two days pass between deployment and the end of seeding, so that interest indexes have moved, swaps
have left fees in the ranges, and debts are no longer the round numbers they were taken out as.
"""

from devnet.assets import ASSETS
from devnet.protocols.aave_v3 import MAJORS_E_MODE, Aave
from devnet.protocols.morpho_blue import Morpho
from devnet.protocols.uniswap_v3 import WIDEST_TICK, LiquidityPool, Uniswap, square_root_price, tick_near
from devnet.tokens import Tokens
from devnet.toolchain.artifacts import Contract
from devnet.transactions import UNLIMITED, Transactions
from devnet.users import AavePosition, LiquidityRange, MorphoPosition, Recipe

STABLE_RATE, VARIABLE_RATE = 1, 2
FAR_DEADLINE = 2**40
HOUR = 3600
MINTED_TO_TREASURY = {"WETH": "100000", "WBTC": "5000", "USDC": "300000000"}
AAVE_RESERVES = {"WETH": "3000", "WBTC": "100", "USDC": "6000000"}
MORPHO_RESERVES = {"WETH/USDC": "120000", "WBTC/USDC": "90000", "WBTC/WETH": "60"}
POOL_RESERVES = {"WETH/USDC": ("1000", "3000000"), "WBTC/WETH": ("50", "1000")}
# token in, token out, amount: there and back, so that pools end near the feeds' prices
SWAPS = (
    ("WETH", "USDC", "25"),
    ("USDC", "WETH", "140000"),
    ("WETH", "USDC", "21.5"),
    ("WBTC", "WETH", "1.5"),
    ("WETH", "WBTC", "30"),
)


class Seeding:
    """One seeding run: who pays, what exists, and the transactions so far."""

    def __init__(
        self,
        transactions: Transactions,
        *,
        tokens: Tokens,
        aave: Aave,
        morpho: Morpho,
        uniswap: Uniswap,
        treasury: str,
        trader: str,
    ) -> None:
        self._transactions = transactions
        self._tokens = tokens
        self._aave = aave
        self._morpho = morpho
        self._uniswap = uniswap
        self._treasury = treasury
        self._trader = trader
        self._next_range = 1
        self._withdrawals: list[tuple[str, int, int]] = []

    def fund(self, account: str) -> None:
        """Give an account plenty of every token, approved to Aave, Morpho and the router."""
        for symbol, amount in MINTED_TO_TREASURY.items():
            self._mint(account, symbol, amount)
            for spender in (self._aave.pool, self._morpho.singleton, self._uniswap.router):
                self._approve(account, symbol, spender)

    def run(self, users: dict[str, Recipe], *, end: int) -> None:
        """Seed treasury, users and trading history; the last block has the timestamp `end`.

        Args:
            users: Recipe by account address.
            end: Unix seconds; at least a day after the next block's timestamp.
        """
        self._fund_protocols()
        for account, recipe in users.items():
            self._supply(account, recipe)
        self._transactions.mine_block(seconds_later=12 * HOUR)
        for account, recipe in users.items():
            self._borrow(account, recipe)
            for liquidity in recipe.liquidity:
                self._provide(account, liquidity)
        self._transactions.mine_block(seconds_later=HOUR)
        self._trade()
        self._withdraw()
        self._transactions.mine_block()
        for account, recipe in users.items():
            self._transactions.set_balance(account, ASSETS["WETH"].base_units(recipe.ether))
        self._transactions.timestamp = end
        self._transactions.mine_block()

    def _fund_protocols(self) -> None:
        self.fund(self._treasury)
        self.fund(self._trader)
        for symbol, amount in AAVE_RESERVES.items():
            self._aave_supply(self._treasury, symbol, amount)
        for name, amount in MORPHO_RESERVES.items():
            self._morpho_lend(self._treasury, MorphoPosition(market=name, lend=amount))
        for name, (base, quote) in POOL_RESERVES.items():
            self._mint_range(self._treasury, name, base, quote, (-WIDEST_TICK, WIDEST_TICK))
        self._transactions.mine_block()

    def _supply(self, account: str, recipe: Recipe) -> None:
        for symbol, amount in recipe.wallet.items():
            self._mint(account, symbol, amount)
        if recipe.aave is not None:
            self._aave_supplies(account, recipe.aave)
        for position in recipe.morpho:
            market = self._morpho.markets[position.market]
            if position.lend != "0":
                self._mint(account, market.loan, position.lend)
                self._morpho_lend(account, position)
            if position.collateral != "0":
                self._mint(account, market.collateral, position.collateral)
                self._approve(account, market.collateral, self._morpho.singleton)
                self._transactions.send(
                    self._morpho.singleton,
                    "supplyCollateral",
                    market.parameters,
                    ASSETS[market.collateral].base_units(position.collateral),
                    account,
                    b"",
                    sender=account,
                )

    def _aave_supplies(self, account: str, position: AavePosition) -> None:
        for symbol, amount in position.supply.items():
            self._mint(account, symbol, amount)
            self._aave_supply(account, symbol, amount)
        for symbol in position.not_collateral:
            token = self._tokens.tokens[symbol].address
            self._transactions.send(self._aave.pool, "setUserUseReserveAsCollateral", token, False, sender=account)
        if position.e_mode:
            self._transactions.send(self._aave.pool, "setUserEMode", MAJORS_E_MODE, sender=account)

    def _borrow(self, account: str, recipe: Recipe) -> None:
        if recipe.aave is not None:
            for symbol, amount in recipe.aave.borrow.items():
                self._transactions.send(
                    self._aave.pool,
                    "borrow",
                    self._tokens.tokens[symbol].address,
                    ASSETS[symbol].base_units(amount),
                    STABLE_RATE if symbol in recipe.aave.stable_rate else VARIABLE_RATE,
                    0,
                    account,
                    sender=account,
                )
        for position in recipe.morpho:
            if position.borrow != "0":
                market = self._morpho.markets[position.market]
                borrowed = ASSETS[market.loan].base_units(position.borrow)
                self._transactions.send(
                    self._morpho.singleton,
                    "borrow",
                    market.parameters,
                    borrowed,
                    0,
                    account,
                    account,
                    sender=account,
                )

    def _provide(self, account: str, liquidity: LiquidityRange) -> None:
        base, quote = liquidity.pool.split("/")
        self._mint(account, base, liquidity.base)
        self._mint(account, quote, liquidity.quote)
        pool = self._uniswap.pools[liquidity.pool]
        ticks = _ticks(pool, liquidity, flipped=pool.token0 != base)
        identifier = self._mint_range(account, liquidity.pool, liquidity.base, liquidity.quote, ticks)
        if liquidity.withdrawn_percent:
            self._withdrawals.append((account, identifier, liquidity.withdrawn_percent))

    def _trade(self) -> None:
        for index, (symbol, wanted, amount) in enumerate(SWAPS):
            parameters = (
                self._tokens.tokens[symbol].address,
                self._tokens.tokens[wanted].address,
                self._pool_between(symbol, wanted).fee_pips,
                self._trader,
                FAR_DEADLINE,
                ASSETS[symbol].base_units(amount),
                0,
                0,
            )
            self._transactions.send(self._uniswap.router, "exactInputSingle", parameters, sender=self._trader)
            self._transactions.mine_block(seconds_later=HOUR * (1 + index % 3))

    def _withdraw(self) -> None:
        for account, identifier, percent in self._withdrawals:
            position = self._transactions.call(self._uniswap.position_manager, "positions", identifier)
            liquidity = position[7] * percent // 100
            self._transactions.send(
                self._uniswap.position_manager,
                "decreaseLiquidity",
                (identifier, liquidity, 0, 0, FAR_DEADLINE),
                sender=account,
            )

    def _mint_range(self, account: str, pool_name: str, base: str, quote: str, ticks: tuple[int, int]) -> int:
        pool = self._uniswap.pools[pool_name]
        amounts = dict(zip(pool_name.split("/"), (base, quote), strict=True))
        for symbol, amount in amounts.items():
            if amount != "0":
                self._approve(account, symbol, self._uniswap.position_manager)
        parameters = (
            self._tokens.tokens[pool.token0].address,
            self._tokens.tokens[pool.token1].address,
            pool.fee_pips,
            *ticks,
            ASSETS[pool.token0].base_units(amounts[pool.token0]),
            ASSETS[pool.token1].base_units(amounts[pool.token1]),
            0,
            0,
            account,
            FAR_DEADLINE,
        )
        self._transactions.send(self._uniswap.position_manager, "mint", parameters, sender=account)
        self._next_range += 1
        return self._next_range - 1

    def _morpho_lend(self, account: str, position: MorphoPosition) -> None:
        market = self._morpho.markets[position.market]
        self._approve(account, market.loan, self._morpho.singleton)
        amount = ASSETS[market.loan].base_units(position.lend)
        self._transactions.send(
            self._morpho.singleton,
            "supply",
            market.parameters,
            amount,
            0,
            account,
            b"",
            sender=account,
        )

    def _aave_supply(self, account: str, symbol: str, amount: str) -> None:
        self._approve(account, symbol, self._aave.pool)
        token, units = self._tokens.tokens[symbol].address, ASSETS[symbol].base_units(amount)
        self._transactions.send(self._aave.pool, "supply", token, units, account, 0, sender=account)

    def _mint(self, account: str, symbol: str, amount: str) -> None:
        if amount != "0":
            token, units = self._tokens.tokens[symbol], ASSETS[symbol].base_units(amount)
            self._transactions.send(token, "mint", account, units)

    def _approve(self, account: str, symbol: str, spender: Contract) -> None:
        token = self._tokens.tokens[symbol]
        self._transactions.send(token, "approve", spender.address, UNLIMITED, sender=account)

    def _pool_between(self, symbol: str, other: str) -> LiquidityPool:
        return next(pool for pool in self._uniswap.pools.values() if {pool.token0, pool.token1} == {symbol, other})


def _ticks(pool: LiquidityPool, liquidity: LiquidityRange, *, flipped: bool) -> tuple[int, int]:
    start = square_root_price(pool.token0, pool.token1, ASSETS[pool.token0].price, ASSETS[pool.token1].price)
    ends = (liquidity.lower, liquidity.upper)
    if flipped:
        ends = (1 / liquidity.upper, 1 / liquidity.lower)
    return tick_near(start, ends[0]), tick_near(start, ends[1])
