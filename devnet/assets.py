"""The three assets of the local chain, shared by all its protocols."""

from dataclasses import dataclass

FEED_DECIMALS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A token, its first price and its parameters as Aave collateral.

    Attributes:
        symbol: Token symbol.
        name: Token name.
        decimals: Token decimals.
        price: First feed answer, USD with 8 decimals.
        loan_to_value: Aave borrowing limit, basis points.
        liquidation_threshold: Aave liquidation threshold, basis points.
        liquidation_bonus: Aave liquidation bonus, basis points above 10 000.
    """

    symbol: str
    name: str
    decimals: int
    price: int
    loan_to_value: int
    liquidation_threshold: int
    liquidation_bonus: int

    def base_units(self, amount: str | int) -> int:
        """Return a decimal amount in the token's smallest unit, exactly.

        Raises:
            ValueError: The amount has more decimals than the token.
        """
        whole, _, fraction = str(amount).partition(".")
        if len(fraction) > self.decimals:
            raise ValueError(f"{amount} {self.symbol} has more than {self.decimals} decimals")
        return int(whole + fraction.ljust(self.decimals, "0"))


ASSETS = {
    asset.symbol: asset
    for asset in (
        Asset(
            symbol="WETH",
            name="Wrapped Ether",
            decimals=18,
            price=3_000 * 10**FEED_DECIMALS,
            loan_to_value=8_000,
            liquidation_threshold=8_250,
            liquidation_bonus=10_500,
        ),
        Asset(
            symbol="WBTC",
            name="Wrapped Bitcoin",
            decimals=8,
            price=60_000 * 10**FEED_DECIMALS,
            loan_to_value=7_000,
            liquidation_threshold=7_500,
            liquidation_bonus=11_000,
        ),
        Asset(
            symbol="USDC",
            name="USD Coin",
            decimals=6,
            price=1 * 10**FEED_DECIMALS,
            loan_to_value=7_700,
            liquidation_threshold=8_000,
            liquidation_bonus=10_450,
        ),
    )
}
