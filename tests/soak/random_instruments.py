"""Random instruments over given factors: tokens, claims, pool shares, ranges, options, contracts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random

from riskschema.instruments import (
    Claim,
    Debt,
    Future,
    Instrument,
    Option,
    Perpetual,
    Token,
    UniswapV2Share,
    UniswapV3Liquidity,
    WrappedToken,
)
from riskschema.units import Address, Wad

AS_OF = 1_700_000_000


def wad(value: float) -> Wad:
    """Return a number in 18 decimals."""
    return Wad(int(value * 10**18))


class RandomInstruments:
    """Draws instruments; `dollars_per_unit` says about what a base unit of one is worth."""

    def __init__(self, random: Random, prices: Mapping[str, float]) -> None:
        self._random = random
        self._prices = prices
        self._tokens = [self._token(index, name) for index, name in enumerate(prices)]

    def token(self) -> Token:
        """Draw a token."""
        return self._random.choice(self._tokens)

    def collateral(self, venue: str, market: str) -> Instrument:
        """Draw what a venue lends on: mostly a claim."""
        token = self._random.choice(self._tokens)
        if self._random.random() < 0.15:
            return self.wrapped()
        if self._random.random() < 0.1:
            return self.range()
        return Claim(token=token, venue=venue, market=market, annual_rate=wad(self._random.uniform(0, 0.3)))

    def debt(self, venue: str, market: str) -> Instrument:
        """Draw something owed to a venue."""
        return Debt(token=self.token(), venue=venue, market=market, annual_rate=wad(self._random.uniform(0, 0.5)))

    def wrapped(self) -> Instrument:
        """Draw a wrapped token."""
        token, underlying = self._pair()
        return WrappedToken(token=token, underlying=underlying, index=wad(self._random.uniform(0.5, 2)))

    def pool_share(self) -> Instrument:
        """Draw a share of a pool."""
        token0, token1 = self._pair()
        return UniswapV2Share(
            chain_id=1,
            pool=Address("0x" + "a1" * 20),
            token0=token0,
            token1=token1,
            liquidity_per_share=wad(self._random.uniform(0.1, 10)),
        )

    def range(self) -> Instrument:
        """Draw a range around the price, or off it."""
        token0, token1 = self._pair()
        ratio = self._prices[token0.factor] / self._prices[token1.factor] * 10.0 ** (token1.decimals - token0.decimals)
        centre = int(math.log(ratio) / math.log(1.0001)) + self._random.randint(-3_000, 3_000)
        lower = min(max(centre - self._random.randint(10, 5_000), -887_000), 886_000)
        return UniswapV3Liquidity(
            chain_id=1,
            pool=Address("0x" + "a2" * 20),
            token0=token0,
            token1=token1,
            tick_lower=lower,
            tick_upper=lower + self._random.randint(10, 900),
        )

    def option(self) -> Instrument:
        """Draw an option, from an hour to some months."""
        underlying, quote = self._random.choice(list(self._prices)), self._random.choice(list(self._prices))
        strike = self._prices[underlying] / self._prices[quote] * self._random.uniform(0.5, 2)
        return Option(
            venue="options:1:main",
            market="m",
            underlying=underlying,
            quote=quote,
            right=self._random.choice(["call", "put"]),
            strike=wad(max(strike, 1e-17)),
            expiry=AS_OF + self._random.randint(1, 10**7),
        )

    def contract(self, payoff: str, base: str, quote: str) -> Instrument:
        """Draw a perpetual or a future."""
        fields = {"venue": "perps:1:main", "market": base, "base": base, "quote": quote, "payoff": payoff}
        if self._random.random() < 0.7:
            return Perpetual(**fields, annual_funding_rate=wad(self._random.uniform(-0.5, 0.5)))  # type: ignore[arg-type]
        return Future(**fields, expiry=AS_OF + self._random.randint(3_600, 10**7))  # type: ignore[arg-type]

    def dollars_per_unit(self, held: Instrument) -> float:
        """Return about what a base unit of an instrument, or of its underlying, is worth."""
        match held:
            case Token():
                return self._prices[held.factor] / 10.0**held.decimals
            case Claim() | Debt() | WrappedToken():
                return self._prices[held.token.factor] / 10.0**held.token.decimals
            case UniswapV2Share() | UniswapV3Liquidity():
                one, two = (self._prices[each.factor] / 10.0**each.decimals for each in (held.token0, held.token1))
                return math.sqrt(one * two)
            case Option():
                return self._prices[held.underlying] / 10.0**18
            case Perpetual() | Future():
                return self._prices[held.base if held.payoff == "linear" else held.quote] / 10.0**18

    def _pair(self) -> tuple[Token, Token]:
        first, second = self._random.sample(self._tokens, 2)
        return first, second

    def _token(self, index: int, name: str) -> Token:
        decimals = self._random.choice([0, 2, 6, 8, 18, 18, 18, 24])
        return Token(chain_id=1, address=Address(f"0x{index + 1:040x}"), symbol=name, decimals=decimals, factor=name)
