"""What users of an Aave pool may do, drawn at random, and what the pool says of them afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from adapters.protocols.aave_v3 import Deployment, adapter
from devnet.local_chain import Devnet
from riskschema.instruments import Claim, Debt
from riskschema.portfolio import VenueReading
from riskschema.ports import ProtocolAdapter
from riskschema.units import Address

UNLIMITED = 2**256 - 1
STABLE, VARIABLE = 1, 2
DEBT_TOKENS = ("StableDebtToken", "VariableDebtToken")


class Pool:
    """One pool and those who use it.

    Args:
        chain: With the pool's contracts by name.
        names: Of the artifacts of the pool and of its interest-bearing token.
        pool: Its address.
        addresses_provider: Its provider's.
        users: Unlocked accounts.
        stable: Loans at the stable rate exist.
    """

    def __init__(
        self,
        chain: Devnet,
        names: tuple[str, str],
        pool: str,
        addresses_provider: str,
        users: Sequence[str],
        *,
        stable: bool,
    ) -> None:
        self._chain, self._pool, self._users = chain, pool, users
        self._name, self._token = names
        self._rates = (STABLE, VARIABLE) if stable else (VARIABLE,)
        self._assets = {asset.token: asset for asset in chain.deployment.assets}
        self._provider = Address(addresses_provider)
        for user in users:
            for asset in self._assets:
                chain.send("MintableToken", asset, "mint", user, 10**26, sender=user)
                chain.send("MintableToken", asset, "approve", pool, UNLIMITED, sender=user)

    def adapter(self) -> ProtocolAdapter:
        """Return the adapter under test."""
        deployment = Deployment(addresses_provider=self._provider)
        return adapter(deployment, chain_id=self._chain.deployment.chain_id, assets={})

    def act(self, random: Random) -> str:
        """Let somebody do something, and return what; the pool may refuse."""
        user, other = random.sample(list(self._users), 2)
        asset, second = random.choice(list(self._assets)), random.choice(list(self._assets))
        amount = self._amount(random, asset)
        choices = [
            ("supply", (asset, amount, user, 0)),
            ("supply", (asset, amount, other, 0)),
            ("borrow", (asset, amount // 3, random.choice(self._rates), 0, user)),
            ("borrow", (asset, amount // 2, VARIABLE, 0, user)),
            ("repay", (asset, random.choice([amount, UNLIMITED]), random.choice(self._rates), user)),
            ("withdraw", (asset, random.choice([amount, UNLIMITED]), user)),
            ("setUserUseReserveAsCollateral", (asset, False)),
            ("setUserUseReserveAsCollateral", (asset, random.random() < 0.3)),
            ("setUserEMode", (random.choice([0, 1]),)),
            ("liquidationCall", (asset, second, other, random.choice([amount, UNLIMITED]), random.random() < 0.5)),
        ]
        if random.random() < 0.1:
            a_token = self._tokens(asset)[0]
            held = self._chain.call(self._token, a_token, "balanceOf", user)[0]
            self._chain.send(self._token, a_token, "transfer", other, held // random.choice([1, 2, 7]), sender=user)
            return "transfer"
        function, arguments = random.choice(choices)
        self._chain.send(self._name, self._pool, function, *arguments, sender=user)
        return function

    def check(self, reading: VenueReading) -> None:
        """Hold a reading against the pool and its tokens."""
        assert reading.unread == ()
        silos = {silo.account: silo for silo in reading.silos}
        for user in self._users:
            silo = silos.get(Address(user))
            positions = silo.positions if silo else ()
            for asset in self._assets:
                a_token, *debt_tokens = self._tokens(asset)
                mine = [p for p in positions if p.instrument.token.address == Address(asset)]
                supplied = sum(p.quantity for p in mine if isinstance(p.instrument, Claim))
                owed = [-p.quantity for p in mine if isinstance(p.instrument, Debt)]
                assert supplied == self._balance(a_token, user)
                assert sum(owed) == sum(self._balance(token, user) for token in debt_tokens)
            reported = self._chain.call(self._name, self._pool, "getUserAccountData", user)[5]
            assert (None if reported == UNLIMITED else reported) == (silo.health if silo else None)

    def _balance(self, token: str, user: str) -> int:
        balance: int = self._chain.call("MintableToken", token, "balanceOf", user)[0]
        return balance

    def _tokens(self, asset: str) -> list[str]:
        """Return the interest-bearing token and the debt tokens of an asset."""
        [reserve] = self._chain.call(self._name, self._pool, "getReserveData", asset)
        return [str(token) for token in reserve[8:11] if int(str(token), 16)]

    def _amount(self, random: Random, asset: str) -> int:
        """Return an amount worth from a cent to 100,000 dollars."""
        known = self._assets[asset]
        dollars = 10 ** random.uniform(-2, 5)
        price = self._chain.call("PriceFeed", known.feed, "latestAnswer")[0]
        return int(dollars * 10**8 * 10**known.decimals / price) + 1
