"""Accounts as shares of value at the start of each day, and the portfolios they are at that day's prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from riskschema.errors import InvalidData
from riskschema.instruments import Claim, Debt, Token
from riskschema.market import Group
from riskschema.portfolio import (
    CollateralTerm,
    NoLiquidation,
    Portfolio,
    Position,
    Silo,
    VenueOracle,
    WeightedCollateral,
)
from riskschema.units import WAD, Address, Amount, Wad

DOLLAR = "USD"
Kind = Literal["long", "short", "multi", "pair", "hedged", "two_long", "token"]
DIRECTIONAL = frozenset({"long", "short", "multi", "two_long"})
Share = Annotated[float, Meta(gt=0.0, le=1.0)]
Distance = Annotated[float, Meta(gt=0.0, lt=1.0)]
Silos = Annotated[tuple["Pledge", ...], Meta(min_length=1, max_length=26)]
LARGE = ("BNB", "SOL", "XRP", "ADA", "DOGE", "LINK", "LTC", "DOT", "MATIC", "UNI", "BCH", "TRX")
"""The tokens of group ``large`` on whose prices the group's parameters were measured."""
CHAIN = 1
VENUE = f"backtest:{CHAIN}:main"
"""Of all silos: none of them shares its collateral with another."""
ORACLE = VenueOracle(kind="market", deviation=Wad(0))
"""Answers at every move: what is observed is a low or high of the hours, not what a feed makes of it."""


class Pledge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One silo: what backs it and what it owes, each as shares of value that sum to 1."""

    collateral: dict[str, Share]
    debt: dict[str, Share]
    distance: Distance
    """Relative fall of the collateral, or rise of the debt where the collateral is dollars, that makes it
    liquidatable."""


class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One holder."""

    name: str
    kind: Kind
    silos: Silos


class Population(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accounts frozen before any test; the document of ``--population``."""

    comment: str = ""
    collateral_usd: Annotated[float, Meta(gt=0.0, le=1e12)]
    """Of every silo."""
    threshold: Share
    """Share of the collateral that may be owed."""
    accounts: Annotated[tuple[Account, ...], Meta(min_length=1, max_length=10_000)]

    def __post_init__(self) -> None:
        """Refuse shares that are no whole, and two accounts of one name."""
        names = [account.name for account in self.accounts]
        if len(set(names)) != len(names):
            raise ValueError("two accounts of one name")
        for account in self.accounts:
            for side in (side for silo in account.silos for side in (silo.collateral, silo.debt)):
                if abs(sum(side.values()) - 1.0) > 1e-5:
                    raise ValueError(f"{account.name}: shares of a side sum to {sum(side.values()):g}, not 1")


def group_of(factor: str) -> Group:
    """Return the asset group in which a factor of the price tables is assessed."""
    named: dict[str, Group] = {"BTC": "btc", "ETH": "eth", **dict.fromkeys(LARGE, "large")}
    return named.get(factor, "other")


def debt_value(silo: Pledge, population: Population) -> float:
    """Return what a silo owes in dollars: at its distance it is worth what the weighted collateral is."""
    limit = population.collateral_usd * population.threshold
    return limit / (1.0 + silo.distance) if set(silo.collateral) == {DOLLAR} else limit * (1.0 - silo.distance)


def tokens(account: Account) -> frozenset[str]:
    """Return the factors an account needs; dollars need no price."""
    return frozenset(name for silo in account.silos for side in (silo.collateral, silo.debt) for name in side) - {
        DOLLAR
    }


def exposures(silo: Pledge, population: Population, factors: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the dollars a silo holds (positive) and owes (negative) of each factor, dollars left out."""
    found = np.zeros(len(factors))
    for sign, side, value in (
        (1.0, silo.collateral, population.collateral_usd),
        (-1.0, silo.debt, debt_value(silo, population)),
    ):
        for name, share in side.items():
            if name != DOLLAR:
                found[factors.index(name)] += sign * share * value
    return found


def with_tokens(population: Population, factors: tuple[str, ...]) -> tuple[Account, ...]:
    """Return the accounts whose factors are known, and after them one plain holding of each factor.

    Raises:
        InvalidData: no account has all its factors.
    """
    kept = tuple(account for account in population.accounts if tokens(account) <= set(factors))
    if not kept:
        raise InvalidData("the prices cover no account of the population", code="factor_unknown")
    plain = (Pledge(collateral={name: 1.0}, debt={DOLLAR: 1.0}, distance=0.5) for name in factors)
    return (*kept, *(Account(name=next(iter(p.collateral)), kind="token", silos=(p,)) for p in plain))


def portfolio(place: int, account: Account, population: Population, prices: Mapping[str, Wad]) -> Portfolio:
    """Return an account as the engine reads it: lending silos whose oracle answers the market's price, at every move.

    Args:
        place: Makes its address.
        account: The account; one of kind `token` owes nothing and cannot be liquidated.
        population: Its population.
        prices: Per factor, dollars per token.
    """
    holder = Address(f"0x{place + 1:040x}")
    silos = tuple(
        _silo(chr(ord("a") + number), holder, _sides(silo, account.kind, population), population.threshold, prices)
        for number, silo in enumerate(account.silos)
    )
    return Portfolio(subject=holder, silos=silos)


def _sides(silo: Pledge, kind: Kind, population: Population) -> list[tuple[str, float, bool]]:
    """Return token, dollars, and whether it is held, of every position."""
    held = [(token, share * population.collateral_usd, True) for token, share in silo.collateral.items()]
    owed = debt_value(silo, population)
    return held if kind == "token" else [*held, *((token, share * owed, False) for token, share in silo.debt.items())]


def _silo(
    name: str,
    holder: Address,
    sides: Sequence[tuple[str, float, bool]],
    threshold: float,
    prices: Mapping[str, Wad],
) -> Silo:
    owes = any(not held for _, _, held in sides)
    terms = tuple(
        CollateralTerm(
            weight=Wad(round(threshold * WAD)) if held else Wad(WAD), price=_price(token, prices), oracle=ORACLE
        )
        for token, _, held in sides
    )
    return Silo(
        id=name,
        venue=VENUE,
        chain_id=CHAIN,
        market="",
        account=holder,
        health=Wad(WAD + 1) if owes else None,
        rule=WeightedCollateral(numeraire="USD", terms=terms) if owes else NoLiquidation(),
        positions=tuple(_position(token, value, prices, held=held) for token, value, held in sides),
    )


def _price(token: str, prices: Mapping[str, Wad]) -> Wad:
    return Wad(WAD) if token == DOLLAR else prices[token]


def _position(token: str, value: float, prices: Mapping[str, Wad], *, held: bool) -> Position:
    coin = Token(chain_id=CHAIN, address=_address(token), symbol=token, decimals=18, factor=token)
    quantity = round(value * WAD) * WAD // int(_price(token, prices))
    kind = Claim if held else Debt
    instrument = kind(token=coin, venue=VENUE, market="", annual_rate=Wad(0))
    return Position(instrument=instrument, quantity=Amount(quantity if held else -quantity))


def _address(token: str) -> Address:
    return Address("0x" + token.encode().hex().rjust(40, "0")[-40:])
