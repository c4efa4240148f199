"""The pool of a market, its reserves and what its oracle answers."""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.abi import Answer, ContractRefusal, Function, ask, known
from adapters.crosschecks import contradiction
from adapters.tokens import factor_of, read_tokens
from riskschema.instruments import Asset
from riskschema.portfolio import USD
from riskschema.ports import AssetFactors, PinnedReader
from riskschema.units import ZERO_ADDRESS, Address

MAX_RESERVES = 128
"""A user's configuration is a bitmap of two bits per reserve in one word."""
GET_POOL = Function("getPool()", "(address)")
_GET_ORACLE = Function("getPriceOracle()", "(address)")
RESERVES = Function("getReservesList()", "(address[])")
RESERVE_DATA = Function(
    "getReserveData(address)",
    "(uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,address,address,address,address,uint256)",
)
PRICE = Function("getAssetPrice(address)", "(uint256)")
_BASE_CURRENCY = Function("BASE_CURRENCY()", "(address)")
_LTV_ZERO = Function("getEModeCategoryLtvzeroBitmap(uint8)", "(uint256)")
"""Came with v3.6."""
_BASE_UNIT = Function("BASE_CURRENCY_UNIT()", "(uint256)")


class Reserve(msgspec.Struct, frozen=True, kw_only=True):
    """One asset of the pool at the pinned block."""

    index: int
    asset: Address
    token: Asset | ContractRefusal
    price: Answer
    """The oracle's, in units of the base currency."""
    configuration: int
    supply_rate: int
    """Ray, as the next two."""
    variable_rate: int
    stable_rate: int
    """What a new stable loan would pay; each loan keeps its own, which is not read (gone since v3.2)."""
    a_token: Address
    stable_debt: Address
    variable_debt: Address

    accrued_to_treasury: int
    """Scaled units that the treasury will be given."""

    @property
    def threshold(self) -> int:
        """Liquidation threshold of its own, basis points."""
        return self.bits(16, 16)

    @property
    def bonus(self) -> int:
        """Liquidation bonus of its own, basis points above 10,000."""
        return self.bits(32, 16)

    @property
    def decimals(self) -> int:
        """The token's, as the pool computes with them."""
        return self.bits(48, 8)

    @property
    def active(self) -> bool:
        """It can be used at all."""
        return bool(self.bits(56, 1))

    @property
    def frozen(self) -> bool:
        """Nothing can be supplied or borrowed."""
        return bool(self.bits(57, 1))

    @property
    def paused(self) -> bool:
        """Nothing can be done with it."""
        return bool(self.bits(60, 1))

    @property
    def borrow_cap(self) -> int:
        """Whole tokens that may be owed; 0: any number."""
        return self.bits(80, 36)

    @property
    def supply_cap(self) -> int:
        """Whole tokens that may be supplied; 0: any number."""
        return self.bits(116, 36)

    def bits(self, first: int, count: int) -> int:
        """Return `count` bits of the configuration word from bit `first`."""
        return self.configuration >> first & ((1 << count) - 1)


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """The pool and what all its accounts share."""

    pool: Address
    oracle: Address
    numeraire: str
    base_unit: int
    reserves: tuple[Reserve, ...]
    counts_every_collateral: bool = False
    """Since v3.6 a collateral without a threshold of its own counts too: at that of the account's category, or none."""


async def read_market(reader: PinnedReader, provider: Address, assets: AssetFactors) -> Market:
    """Read the pool, its reserves and their oracle prices.

    Raises:
        ContractRefusal: the pool or one of its reserves cannot be read (a missing price is kept as such).
        TransientError: the endpoint failed.
    """
    pool, oracle = (
        known(answer)[0] for answer in await ask(reader, [(GET_POOL, provider, ()), (_GET_ORACLE, provider, ())])
    )
    questions = [(RESERVES, pool, ()), (_BASE_UNIT, oracle, ()), (_BASE_CURRENCY, oracle, ()), (_LTV_ZERO, pool, (1,))]
    *base, ltv_zero = await ask(reader, questions)
    (listed,), (base_unit,), (currency,) = (known(answer) for answer in base)
    if len(listed) > MAX_RESERVES or not base_unit:
        raise ContractRefusal(f"{pool} lists {len(listed)} reserves, unit {base_unit}", code="answer_malformed")
    questions = [(RESERVE_DATA, pool, (asset,)) for asset in listed] + [(PRICE, oracle, (asset,)) for asset in listed]
    answers = await ask(reader, questions)
    data, prices = answers[: len(listed)], answers[len(listed) :]
    tokens = await read_tokens(reader, listed, assets, listed=True)
    for asset, values in zip(listed, data, strict=True):
        _check_decimals(reader, tokens[asset], known(values)[0])
    return Market(
        pool=pool,
        oracle=oracle,
        numeraire=USD if currency == ZERO_ADDRESS else factor_of(currency, reader.block.chain_id, assets),
        base_unit=base_unit,
        reserves=tuple(
            _reserve(asset, tokens[asset], known(values), price)
            for asset, values, price in zip(listed, data, prices, strict=True)
        ),
        counts_every_collateral=not isinstance(ltv_zero, ContractRefusal),
    )


def _check_decimals(reader: PinnedReader, token: Asset | ContractRefusal, configuration: int) -> None:
    """Hold a token's decimals against those that the pool computes with (bits 48 to 55)."""
    said = configuration >> 48 & 0xFF
    if not isinstance(token, ContractRefusal) and token.decimals != said:
        contradiction(reader, f"token {token.address} says {token.decimals} decimals, the pool that it has {said}")


def _reserve(asset: Address, token: Asset | ContractRefusal, values: tuple[Any, ...], price: Answer) -> Reserve:
    configuration, _, supply_rate, _, variable_rate, stable_rate, _, index, a_token, stable, variable, _, accrued = (
        values
    )
    if index >= MAX_RESERVES:
        raise ContractRefusal(f"reserve {asset} has id {index}", code="answer_malformed")
    return Reserve(
        index=index,
        asset=asset,
        token=token,
        price=price,
        configuration=configuration,
        supply_rate=supply_rate,
        variable_rate=variable_rate,
        stable_rate=stable_rate,
        a_token=a_token,
        stable_debt=stable,
        variable_debt=variable,
        accrued_to_treasury=accrued,
    )
