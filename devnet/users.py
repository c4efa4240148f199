"""Who lives on the local chain: a table of users and what each of them holds and owes.

Amounts are decimal strings of the asset. Prices at the start: WETH 3 000, WBTC 60 000, USDC 1 USD.
Aave liquidates below 82.5 % (WETH), 75 % (WBTC), 80 % (USDC), or 91 % of majors in e-mode; Morpho
Blue below 86 % (91 % for WBTC/WETH).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class AavePosition:
    """What a user supplies to and borrows from Aave.

    Attributes:
        supply: Amount by symbol.
        borrow: Amount by symbol.
        stable_rate: Borrowed symbols that pay the stable rate instead of the variable one.
        not_collateral: Supplied symbols switched off as collateral.
        e_mode: Whether the user enters the e-mode of the majors.
    """

    supply: Mapping[str, str]
    borrow: Mapping[str, str] = field(default_factory=dict)
    stable_rate: tuple[str, ...] = ()
    not_collateral: tuple[str, ...] = ()
    e_mode: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MorphoPosition:
    """What a user has in one Morpho market, named `COLLATERAL/LOAN`."""

    market: str
    collateral: str = "0"
    borrow: str = "0"
    lend: str = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiquidityRange:
    """A Uniswap position between two multiples of the first price of token0 in token1.

    Attributes:
        pool: Name, `BASE/QUOTE`.
        base: Most of BASE to put in.
        quote: Most of QUOTE to put in.
        lower: Lower end as a multiple of the first price.
        upper: Upper end as a multiple of the first price.
        withdrawn_percent: Share taken out of the range later but not collected.
    """

    pool: str
    base: str
    quote: str
    lower: float
    upper: float
    withdrawn_percent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One user.

    Attributes:
        name: Unique.
        story: What is special about it.
        ether: The chain's own coin left when everything is seeded.
        wallet: Amount by symbol.
        aave: Its position in Aave.
        morpho: Its positions in Morpho markets.
        liquidity: Its Uniswap ranges.
    """

    name: str
    story: str
    ether: str = "0.3"
    wallet: Mapping[str, str] = field(default_factory=dict)
    aave: AavePosition | None = None
    morpho: tuple[MorphoPosition, ...] = ()
    liquidity: tuple[LiquidityRange, ...] = ()


USERS = (
    Recipe(
        name="saver",
        story="Aave deposit, no debt",
        ether="0.05",
        aave=AavePosition(supply={"USDC": "25000"}),
    ),
    Recipe(
        name="prudent-ether",
        story="Owes a fifth of what the WETH is worth",
        ether="1.2",
        aave=AavePosition(supply={"WETH": "20"}, borrow={"USDC": "12000"}),
    ),
    Recipe(
        name="prudent-bitcoin",
        story="WBTC against little USDC",
        aave=AavePosition(supply={"WBTC": "1.5"}, borrow={"USDC": "20000"}),
    ),
    Recipe(
        name="edge-ether",
        story="Borrows against WETH up to the limit",
        ether="0.02",
        wallet={"USDC": "500"},
        aave=AavePosition(supply={"WETH": "10"}, borrow={"USDC": "23950"}),
    ),
    Recipe(
        name="edge-bitcoin",
        story="Borrows against WBTC up to the limit",
        aave=AavePosition(supply={"WBTC": "2"}, borrow={"USDC": "83900"}),
    ),
    Recipe(
        name="multi-collateral",
        story="Three collaterals, two debts",
        aave=AavePosition(
            supply={"WETH": "5", "WBTC": "0.4", "USDC": "8000"},
            borrow={"USDC": "14000", "WETH": "2.5"},
        ),
    ),
    Recipe(
        name="short-ether",
        story="USDC against WETH debt: loses when the price rises",
        aave=AavePosition(supply={"USDC": "60000"}, borrow={"WETH": "11"}),
    ),
    Recipe(
        name="stable-only",
        story="USDC against USDC",
        aave=AavePosition(supply={"USDC": "40000"}, borrow={"USDC": "24000"}),
    ),
    Recipe(
        name="dust-debt",
        story="One hundredth of a cent owed",
        aave=AavePosition(supply={"WETH": "1"}, borrow={"USDC": "0.0001"}),
    ),
    Recipe(
        name="idle-deposit",
        story="Half of the supply is switched off as collateral",
        aave=AavePosition(
            supply={"WETH": "6", "USDC": "15000"},
            borrow={"USDC": "10000"},
            not_collateral=("USDC",),
        ),
    ),
    Recipe(
        name="e-mode",
        story="WBTC against WETH in e-mode, close to its limit",
        aave=AavePosition(supply={"WBTC": "1"}, borrow={"WETH": "17.9"}, e_mode=True),
    ),
    Recipe(
        name="whale",
        story="Large, several assets",
        ether="5",
        wallet={"WETH": "500", "USDC": "1000000"},
        aave=AavePosition(supply={"WETH": "1500", "WBTC": "80"}, borrow={"USDC": "3200000"}),
    ),
    Recipe(
        name="blue-prudent",
        story="Morpho, half of what it may borrow",
        morpho=(MorphoPosition(market="WETH/USDC", collateral="10", borrow="13000"),),
    ),
    Recipe(
        name="blue-edge",
        story="Morpho, borrows up to the limit",
        morpho=(MorphoPosition(market="WETH/USDC", collateral="8", borrow="20200"),),
    ),
    Recipe(
        name="blue-bitcoin",
        story="Morpho, WBTC against USDC",
        morpho=(MorphoPosition(market="WBTC/USDC", collateral="0.75", borrow="30000"),),
    ),
    Recipe(
        name="blue-relative",
        story="Morpho, WBTC against WETH: only the relative price matters",
        morpho=(MorphoPosition(market="WBTC/WETH", collateral="1", borrow="16"),),
    ),
    Recipe(
        name="blue-collateral-only",
        story="Morpho collateral, nothing borrowed",
        morpho=(MorphoPosition(market="WBTC/USDC", collateral="0.2"),),
    ),
    Recipe(
        name="blue-lender",
        story="Lends in two Morpho markets",
        ether="0.75",
        morpho=(
            MorphoPosition(market="WETH/USDC", lend="30000"),
            MorphoPosition(market="WBTC/WETH", lend="12"),
        ),
    ),
    Recipe(
        name="two-venues",
        story="Debt on Aave and on Morpho",
        aave=AavePosition(supply={"WETH": "8"}, borrow={"USDC": "13000"}),
        morpho=(MorphoPosition(market="WBTC/USDC", collateral="0.5", borrow="19000"),),
    ),
    Recipe(
        name="two-venues-edge",
        story="At the limit on Morpho; the wealth on Aave cannot rescue it",
        aave=AavePosition(supply={"WBTC": "1", "USDC": "20000"}),
        morpho=(MorphoPosition(market="WETH/USDC", collateral="12", borrow="30400"),),
    ),
    Recipe(
        name="hedged",
        story="Long WETH on Morpho, short on Aave: prices hardly matter, but each venue counts alone",
        ether="0.6",
        aave=AavePosition(supply={"USDC": "40000"}, borrow={"WETH": "9"}),
        morpho=(MorphoPosition(market="WETH/USDC", collateral="9", borrow="15000"),),
    ),
    Recipe(
        name="market-maker",
        story="Liquidity in a narrow range around the price",
        liquidity=(LiquidityRange(pool="WETH/USDC", base="20", quote="60000", lower=0.92, upper=1.08),),
    ),
    Recipe(
        name="wide-range",
        story="Two pools, wide ranges, part of one taken out but not collected",
        liquidity=(
            LiquidityRange(
                pool="WETH/USDC",
                base="5",
                quote="15000",
                lower=0.5,
                upper=2.0,
                withdrawn_percent=40,
            ),
            LiquidityRange(pool="WBTC/WETH", base="0.3", quote="6", lower=0.6, upper=1.6),
        ),
    ),
    Recipe(
        name="out-of-range",
        story="Range far above the price: all of it WETH",
        liquidity=(LiquidityRange(pool="WETH/USDC", base="7", quote="0", lower=1.25, upper=1.7),),
    ),
    Recipe(
        name="closed-range",
        story="All liquidity taken out, the tokens still owed by the position",
        ether="0.01",
        liquidity=(
            LiquidityRange(
                pool="WETH/USDC",
                base="2",
                quote="6000",
                lower=0.8,
                upper=1.25,
                withdrawn_percent=100,
            ),
        ),
    ),
    Recipe(
        name="range-beside-debt",
        story="Aave debt with a Uniswap range beside it",
        aave=AavePosition(supply={"WETH": "12"}, borrow={"USDC": "22000"}),
        liquidity=(LiquidityRange(pool="WETH/USDC", base="4", quote="12000", lower=0.85, upper=1.18),),
    ),
    Recipe(
        name="everywhere",
        story="Wallet, Aave, Morpho and Uniswap",
        ether="1.5",
        wallet={"WETH": "1.25", "WBTC": "0.05", "USDC": "1234.56"},
        aave=AavePosition(supply={"WETH": "4", "USDC": "5000"}, borrow={"USDC": "7500"}),
        morpho=(MorphoPosition(market="WBTC/WETH", collateral="0.6", borrow="8"),),
        liquidity=(LiquidityRange(pool="WBTC/WETH", base="0.2", quote="4", lower=0.75, upper=1.3),),
    ),
    Recipe(
        name="holder",
        story="Tokens in the wallet and nothing else",
        ether="2",
        wallet={"WETH": "3.5", "WBTC": "0.12", "USDC": "900"},
    ),
    Recipe(
        name="stable-rate",
        story="WETH against USDC at the stable rate",
        aave=AavePosition(supply={"WETH": "3"}, borrow={"USDC": "4000"}, stable_rate=("USDC",)),
    ),
)
