"""What liquidity providers of Uniswap v3 may do, drawn at random, and what the contracts would pay them afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from adapters.protocols.uniswap_v3 import Deployment, adapter
from devnet.local_chain import Devnet
from riskschema.instruments import Token, UniswapV3Liquidity
from riskschema.portfolio import VenueReading
from riskschema.ports import ProtocolAdapter
from riskschema.units import Address

UNLIMITED, UNLIMITED_128 = 2**256 - 1, 2**128 - 1
FAR_DEADLINE = 2**40
MANAGER, ROUTER = "NonfungiblePositionManager", "SwapRouter"


class Positions:
    """The position manager, its pools and those who use them."""

    def __init__(self, chain: Devnet, users: Sequence[str]) -> None:
        self._chain, self._users, self._deployed = chain, users, chain.deployment.uniswap
        self._assets = {asset.symbol: asset for asset in chain.deployment.assets}
        for user in users:
            for asset in chain.deployment.assets:
                chain.send("MintableToken", asset.token, "mint", user, 10**26, sender=user)
                for spender in (self._deployed.position_manager, self._deployed.router):
                    chain.send("MintableToken", asset.token, "approve", spender, UNLIMITED, sender=user)

    def adapter(self) -> ProtocolAdapter:
        """Return the adapter under test."""
        deployment = Deployment(position_manager=Address(self._deployed.position_manager))
        return adapter(deployment, chain_id=self._chain.deployment.chain_id, assets={})

    def act(self, random: Random) -> str:
        """Let somebody do something, and return what; the contracts may refuse."""
        user, other = random.sample(list(self._users), 2)
        manager = self._deployed.position_manager
        held = self._nfts(user)
        choice = random.random()
        if not held or choice < 0.3:
            self._chain.send(MANAGER, manager, "mint", self._range(random, user), sender=user)
            return "mint"
        if choice < 0.5:
            self._swap(random, user)
            return "swap"
        id_, position = random.choice(held)
        part = position[7] // random.choice([1, 2, 5])
        function, arguments = random.choice(
            [
                ("increaseLiquidity", ((id_, 10**15, 10**15, 0, 0, FAR_DEADLINE),)),
                ("decreaseLiquidity", ((id_, part, 0, 0, FAR_DEADLINE),)),
                ("collect", ((id_, user, UNLIMITED_128, UNLIMITED_128),)),
                ("transferFrom", (user, other, id_)),
                ("burn", (id_,)),
            ]
        )
        self._chain.send(MANAGER, manager, function, *arguments, sender=user)
        return function

    def check(self, reading: VenueReading) -> None:
        """Hold a reading against what the contracts would pay: fees by `collect`, liquidity as stored."""
        assert reading.unread == ()
        silos = {silo.account: silo for silo in reading.silos}
        for user in self._users:
            silo = silos.get(Address(user))
            positions = silo.positions if silo else ()
            fees: dict[Address, int] = {}
            ranges: dict[tuple[int, int], int] = {}
            for id_, position in self._nfts(user):
                arguments = (id_, user, UNLIMITED_128, UNLIMITED_128)
                for token, amount in zip(position[2:4], self._static(user, "collect", arguments), strict=True):
                    fees[Address(token)] = fees.get(Address(token), 0) + amount
                ranges[position[5], position[6]] = ranges.get((position[5], position[6]), 0) + position[7]
            told = {p.instrument.address: p.quantity for p in positions if isinstance(p.instrument, Token)}
            assert told == {token: amount for token, amount in fees.items() if amount}
            liquid: dict[tuple[int, int], int] = {}
            for p in positions:
                if isinstance(p.instrument, UniswapV3Liquidity):
                    at = (p.instrument.tick_lower, p.instrument.tick_upper)
                    liquid[at] = liquid.get(at, 0) + p.quantity
            assert liquid == {ticks: amount for ticks, amount in ranges.items() if amount}

    def _range(self, random: Random, user: str) -> tuple[Any, ...]:
        pool = random.choice(list(self._deployed.pools))
        tick = self._chain.call("UniswapV3Pool", pool.address, "slot0")[1]
        (spacing,) = self._chain.call("UniswapV3Pool", pool.address, "tickSpacing")
        ends = sorted(random.sample(range(-60, 61), 2))
        lower, upper = ((tick // spacing + end) * spacing for end in ends)
        amounts = [self._amount(random, symbol) for symbol in (pool.token0, pool.token1)]
        tokens = [self._assets[symbol].token for symbol in (pool.token0, pool.token1)]
        return (*tokens, pool.fee_pips, lower, upper, *amounts, 0, 0, user, FAR_DEADLINE)

    def _swap(self, random: Random, user: str) -> None:
        pool = random.choice(list(self._deployed.pools))
        symbols = random.sample([pool.token0, pool.token1], 2)
        tokens = (self._assets[symbol].token for symbol in symbols)
        parameters = (*tokens, pool.fee_pips, user, FAR_DEADLINE, self._amount(random, symbols[0]), 0, 0)
        self._chain.send(ROUTER, self._deployed.router, "exactInputSingle", parameters, sender=user)

    def _nfts(self, user: str) -> list[tuple[int, tuple[Any, ...]]]:
        manager = self._deployed.position_manager
        (count,) = self._chain.call(MANAGER, manager, "balanceOf", user)
        ids = [self._chain.call(MANAGER, manager, "tokenOfOwnerByIndex", user, at)[0] for at in range(count)]
        return [(id_, self._chain.call(MANAGER, manager, "positions", id_)) for id_ in ids]

    def _static(self, user: str, function: str, *arguments: object) -> tuple[int, ...]:
        artifact, manager = self._chain.artifacts[MANAGER], self._deployed.position_manager
        request = {"from": user, "to": manager, "data": artifact.call_data(function, *arguments)}
        answer = self._chain.anvil.rpc.request("eth_call", request, "latest")
        return artifact.decode_result(function, len(arguments), answer)

    def _amount(self, random: Random, symbol: str) -> int:
        known = self._assets[symbol]
        price = self._chain.call("PriceFeed", known.feed, "latestAnswer")[0]
        return int(10 ** random.uniform(0, 5) * 10**8 * 10**known.decimals / price) + 1
