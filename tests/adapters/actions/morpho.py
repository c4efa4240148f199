"""What users of Morpho Blue may do, drawn at random, and what the singleton says of them once it has accrued."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from adapters.protocols.morpho_blue import Deployment, adapter
from devnet.local_chain import Devnet
from riskschema.instruments import Claim, Debt, Token
from riskschema.portfolio import VenueReading, WeightedCollateral
from riskschema.ports import ProtocolAdapter
from riskschema.units import WAD, Address, Hash32

UNLIMITED = 2**256 - 1


class Singleton:
    """The singleton's markets and those who use them."""

    def __init__(self, chain: Devnet, users: Sequence[str]) -> None:
        self._chain, self._users = chain, users
        self._at = chain.deployment.morpho.singleton
        self._ids = [market.market_id for market in chain.deployment.morpho.markets]
        self._parameters = {
            id_: chain.call("Morpho", self._at, "idToMarketParams", bytes.fromhex(id_[2:])) for id_ in self._ids
        }
        self._assets = {asset.token.lower(): asset for asset in chain.deployment.assets}
        for user in users:
            for asset in chain.deployment.assets:
                chain.send("MintableToken", asset.token, "mint", user, 10**26, sender=user)
                chain.send("MintableToken", asset.token, "approve", self._at, UNLIMITED, sender=user)

    def adapter(self) -> ProtocolAdapter:
        """Return the adapter under test."""
        deployment = Deployment(singleton=Address(self._at), markets=tuple(map(Hash32, self._ids)))
        return adapter(deployment, chain_id=self._chain.deployment.chain_id, assets={})

    def act(self, random: Random) -> str:
        """Let somebody do something, and return what; the singleton may refuse."""
        user, other = random.sample(list(self._users), 2)
        id_ = random.choice(self._ids)
        market: Any = self._parameters[id_]
        loan, collateral = (self._amount(random, str(token)) for token in market[:2])
        supplied, owed, _ = self._position(id_, user)
        function, arguments = random.choice(
            [
                ("supply", (market, loan, 0, user, b"")),
                ("supply", (market, loan, 0, other, b"")),
                ("withdraw", (market, loan // 4, 0, user, user)),
                ("withdraw", (market, 0, supplied, user, user)),
                ("supplyCollateral", (market, collateral, user, b"")),
                ("withdrawCollateral", (market, collateral // 3, user, user)),
                ("borrow", (market, loan // 3, 0, user, user)),
                ("repay", (market, loan // 5, 0, user, b"")),
                ("repay", (market, 0, owed, user, b"")),
                ("liquidate", (market, other, collateral // 10, 0, b"")),
                ("liquidate", (market, other, 0, self._position(id_, other)[1] // 2, b"")),
                ("accrueInterest", (market,)),
            ]
        )
        self._chain.send("Morpho", self._at, function, *arguments, sender=user)
        return function

    def check(self, reading: VenueReading) -> None:
        """Hold a reading against what the singleton stores after accruing in the same second."""
        assert reading.unread == ()
        self._accrue_all()
        silos = {(silo.account, silo.market, isinstance(silo.rule, WeightedCollateral)): silo for silo in reading.silos}
        for id_ in self._ids:
            for user in map(Address, self._users):
                lender, borrower = silos.get((user, Hash32(id_), False)), silos.get((user, Hash32(id_), True))
                supply, owed, collateral = self._worth(id_, user)
                positions = borrower.positions if borrower else ()
                assert sum(p.quantity for p in (lender.positions if lender else ())) == supply
                assert -sum(p.quantity for p in positions if isinstance(p.instrument, Debt)) == owed
                assert sum(p.quantity for p in positions if isinstance(p.instrument, Token)) == collateral
                assert not any(isinstance(p.instrument, Claim) for p in positions)
                if borrower and owed:
                    assert borrower.health == self._limit(id_, collateral) * WAD // owed

    def _position(self, id_: str, user: str) -> tuple[int, int, int]:
        supply, borrow, collateral = self._chain.call("Morpho", self._at, "position", bytes.fromhex(id_[2:]), user)
        return supply, borrow, collateral

    def _worth(self, id_: str, user: str) -> tuple[int, int, int]:
        """Return what an account has and owes in assets (``SharesMathLib``)."""
        supply, borrow, collateral = self._position(id_, user)
        lent, shares, owed, parts, _, _ = self._chain.call("Morpho", self._at, "market", bytes.fromhex(id_[2:]))
        return supply * (lent + 1) // (shares + 10**6), -(-borrow * (owed + 1) // (parts + 10**6)), collateral

    def _limit(self, id_: str, collateral: int) -> int:
        _, _, oracle, _, lltv = self._parameters[id_]
        (price,) = self._chain.call("FeedOracle", str(oracle), "price")
        limit: int = collateral * price // 10**36 * int(str(lltv)) // WAD
        return limit

    def _accrue_all(self) -> None:
        """Let the singleton write down interest in blocks of the second of the newest one."""
        rpc = self._chain.anvil.rpc
        rpc.request("anvil_setBlockTimestampInterval", 0)
        try:
            for market in self._parameters.values():
                self._chain.send("Morpho", self._at, "accrueInterest", market, sender=self._users[0])
        finally:
            rpc.request("anvil_setBlockTimestampInterval", 1)

    def _amount(self, random: Random, token: str) -> int:
        known = self._assets[token.lower()]
        price = self._chain.call("PriceFeed", known.feed, "latestAnswer")[0]
        return int(10 ** random.uniform(-2, 4.5) * 10**8 * 10**known.decimals / price) + 1
