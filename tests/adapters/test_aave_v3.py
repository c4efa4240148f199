"""The Aave adapter against the real contracts: equal to the pool's own figures, before, in and after a crash."""

from collections.abc import Awaitable, Callable, Sequence

import pytest
from eth_hash.auto import keccak

from adapters.chains import PinnedChain
from adapters.discovery import discover
from adapters.protocols.aave_v3 import Deployment, adapter
from devnet.local_chain import Devnet
from devnet.prices import crash
from riskschema.instruments import Claim, Debt
from riskschema.portfolio import Silo, VenueReading, WeightedCollateral
from riskschema.ports import Call, CallResult, CallSuccess, ProtocolAdapter
from riskschema.units import WAD, Address
from tests.adapters.confirmed import Confirmed

pytestmark = pytest.mark.chain

Pin = Callable[[], Awaitable[PinnedChain]]
UNLIMITED = 2**256 - 1
REVERT = "0x60006000fd"


@pytest.fixture
def aave(chain: Devnet) -> ProtocolAdapter:
    deployment = Deployment(addresses_provider=Address(chain.deployment.aave.addresses_provider))
    return adapter(deployment, chain_id=chain.deployment.chain_id, assets={})


async def read(aave: ProtocolAdapter, pin: Pin, accounts: list[Address]) -> VenueReading:
    return await aave.read(await pin(), accounts)


def account_data(chain: Devnet, account: str) -> tuple[int, ...]:
    return chain.call("Pool", chain.deployment.aave.pool, "getUserAccountData", account)


def recomputed_health(silo: Silo) -> int | None:
    """``GenericLogic.calculateUserAccountData`` of v3.0 from the silo alone, in its integers and roundings."""
    assert isinstance(silo.rule, WeightedCollateral)
    collateral = weighted = 0
    owed: dict[str, list[int]] = {}
    for position, term in zip(silo.positions, silo.rule.terms, strict=True):
        assert isinstance(position.instrument, Claim | Debt)
        unit = 10**position.instrument.token.decimals
        price = term.price // 10**10  # the oracle's 8 decimals
        if position.quantity < 0:
            owed.setdefault(position.instrument.token.address, [price, unit, 0])[2] -= position.quantity
        elif term.weight:
            value = position.quantity * price // unit
            collateral += value
            weighted += value * (term.weight // 10**14)
    debt = sum(price * amount // unit for price, unit, amount in owed.values())
    if not debt:
        return None
    threshold = weighted // collateral if collateral else 0
    return ((collateral * threshold + 5_000) // 10_000 * WAD + debt // 2) // debt


def assert_healths_are_the_pools(chain: Devnet, reading: VenueReading) -> None:
    assert reading.unread == ()
    for silo in reading.silos:
        reported = account_data(chain, silo.account)[5]
        assert silo.health == (None if reported == UNLIMITED else reported)
        assert recomputed_health(silo) == silo.health


async def test_every_health_factor_is_the_pools_own_and_follows_from_the_positions(chain, aave, pin, everyone):
    reading = await read(aave, pin, everyone)

    assert len(reading.silos) >= 15
    assert sum(silo.health is not None for silo in reading.silos) >= 12
    assert_healths_are_the_pools(chain, reading)


async def test_health_stays_equal_through_a_crash_and_a_liquidation(chain, aave, pin, everyone, user):
    before = {silo.account: silo for silo in (await read(aave, pin, everyone)).silos}
    crash(chain, percent=30)
    fallen = await read(aave, pin, everyone)
    assert_healths_are_the_pools(chain, fallen)
    liquidatable = {silo.account for silo in fallen.silos if silo.health is not None and silo.health < WAD}
    assert user("edge-ether") in liquidatable
    assert user("short-ether") not in liquidatable

    victim = chain.deployment.user("edge-ether").address
    tokens = [chain.deployment.asset(symbol).token for symbol in ("WETH", "USDC")]
    liquidator, pool = chain.deployment.liquidator, chain.deployment.aave.pool
    chain.send("MintableToken", tokens[1], "approve", pool, UNLIMITED, sender=liquidator)
    chain.send("Pool", pool, "liquidationCall", *tokens, victim, 10_000 * 10**6, False, sender=liquidator)

    liquidated = await read(aave, pin, everyone)
    assert_healths_are_the_pools(chain, liquidated)
    after = next(silo for silo in liquidated.silos if silo.account == Address(victim))
    assert owed(after) < owed(before[after.account])


def owed(silo: Silo) -> int:
    return -sum(position.quantity for position in silo.positions if position.quantity < 0)


async def test_a_healthy_account_cannot_be_liquidated_and_one_below_one_can(chain, aave, pin, everyone):
    crash(chain, percent=10)
    reading = await read(aave, pin, everyone)
    tokens = {asset.token.lower(): asset.token for asset in chain.deployment.assets}
    outcomes = set()
    for silo in reading.silos:
        debts = [position for position in silo.positions if position.quantity < 0]
        pledged = [p for p, term in zip(silo.positions, silo.rule.terms, strict=True) if p.quantity > 0 and term.weight]
        if not debts or not pledged:
            continue
        arguments = [tokens[each[0].instrument.token.address] for each in (pledged, debts)]
        data = chain.artifacts["Pool"].call_data("liquidationCall", *arguments, silo.account, 1, True)
        request = {"from": chain.deployment.liquidator, "to": chain.deployment.aave.pool, "data": data}
        answer = chain.anvil.rpc.answers([("eth_call", [request, "latest"])])[0]
        healthy = "45" in answer.get("error", {}).get("message", "")  # HEALTH_FACTOR_NOT_BELOW_THRESHOLD
        assert silo.health is not None
        assert healthy == (silo.health >= WAD)
        outcomes.add(healthy)
    assert outcomes == {True, False}


async def test_emode_and_unpledged_supply_count_as_the_pool_counts_them(aave, pin, user):
    reading = await read(aave, pin, [user("e-mode"), user("idle-deposit")])

    weights = {
        (silo.account, position.instrument.token.symbol): term.weight
        for silo in reading.silos
        for position, term in zip(silo.positions, silo.rule.terms, strict=True)
        if position.quantity > 0
    }
    assert weights == {
        (user("e-mode"), "WBTC"): 91 * WAD // 100,
        (user("idle-deposit"), "WETH"): 825 * WAD // 1000,
        (user("idle-deposit"), "USDC"): 0,
    }


async def test_an_account_without_anything_has_no_silo(aave, pin, user):
    reading = await read(aave, pin, [user("holder"), user("saver"), user("saver")])

    assert [silo.account for silo in reading.silos] == [user("saver")]
    assert reading.silos[0].health is None


async def test_every_seeded_account_is_discovered(aave, pin, everyone):
    reading = await read(aave, pin, everyone)

    found = (await discover(aave, await pin(), start_block=0)).accounts
    assert {silo.account for silo in reading.silos} <= found


@pytest.mark.parametrize("broken", ["pool", "oracle", "addresses_provider"])
async def test_a_reverting_contract_leaves_every_account_unread(chain, aave, pin, everyone, broken):
    chain.anvil.rpc.request("anvil_setCode", getattr(chain.deployment.aave, broken), REVERT)
    reading = await read(aave, pin, everyone)

    assert reading.silos == ()
    assert {missing.code for missing in reading.unread} == {"call_reverted"}
    assert [missing.account for missing in reading.unread] == everyone


@pytest.mark.parametrize("broken", ["pool", "oracle", "addresses_provider"])
async def test_accounts_of_a_reverting_pool_are_still_discovered(chain, aave, pin, everyone, broken):
    holders = {silo.account for silo in (await read(aave, pin, everyone)).silos}
    chain.anvil.rpc.request("anvil_setCode", getattr(chain.deployment.aave, broken), REVERT)

    assert holders <= (await discover(aave, await pin(), start_block=0)).accounts


async def test_a_missing_contract_is_said_to_be_missing(chain, aave, pin, everyone):
    chain.anvil.rpc.request("anvil_setCode", chain.deployment.aave.addresses_provider, "0x")
    reading = await read(aave, pin, everyone)

    assert reading.silos == ()
    assert {missing.code for missing in reading.unread} == {"no_code"}


async def test_an_oracle_without_a_price_leaves_its_holders_unread_and_nobody_else(chain, aave, pin, user):
    chain.send("PriceFeed", chain.deployment.asset("WBTC").feed, "setAnswer", 0, sender=chain.deployment.deployer)
    reading = await read(aave, pin, [user("edge-bitcoin"), user("edge-ether")])

    assert [silo.account for silo in reading.silos] == [user("edge-ether")]
    assert [(missing.account, missing.code) for missing in reading.unread] == [(user("edge-bitcoin"), "call_reverted")]


async def test_a_reserve_that_backs_nothing_hides_no_silo_when_its_price_breaks(chain, aave, pin, user):
    victim, sender = user("edge-ether"), user("edge-bitcoin")
    before = (await read(aave, pin, [victim])).silos
    reserve = chain.call("Pool", chain.deployment.aave.pool, "getReserveData", chain.deployment.asset("WBTC").token)
    a_token = next(each[8] for each in reserve)
    chain.send("AToken", a_token, "transfer", victim, 1, sender=sender)
    pool = chain.deployment.aave.pool
    wbtc = chain.deployment.asset("WBTC").token
    chain.send("Pool", pool, "setUserUseReserveAsCollateral", wbtc, False, sender=victim)
    chain.send("PriceFeed", chain.deployment.asset("WBTC").feed, "setAnswer", 0, sender=chain.deployment.deployer)
    reading = await read(aave, pin, [victim])

    assert reading.unread == ()
    assert [(spare.account, spare.code) for spare in reading.aside] == [(victim, "call_reverted")]
    assert [position.instrument.token for position in reading.silos[0].positions] == [
        position.instrument.token for position in before[0].positions
    ]


async def test_a_token_of_a_reserve_that_an_account_does_not_use_may_revert(chain, aave, pin, user):
    before = await read(aave, pin, [user("edge-ether")])
    reserve = chain.call("Pool", chain.deployment.aave.pool, "getReserveData", chain.deployment.asset("WBTC").token)
    chain.anvil.rpc.request("anvil_setCode", next(each[8] for each in reserve), REVERT)
    reading = await read(aave, pin, [user("edge-ether")])

    assert (reading.silos, reading.unread) == (before.silos, ())
    assert [spare.code for spare in reading.aside] == ["call_reverted"]


class Overwritten(Confirmed):
    """A reader on which one function's answers have one word replaced."""

    def __init__(self, reader: PinnedChain, signature: str, word: int, value: int) -> None:
        self._reader = reader
        self._selector = keccak(signature.encode())[:4]
        self._word, self._value = word, value
        self.block = reader.block

    async def call(self, calls: Sequence[Call]) -> tuple[CallResult, ...]:
        return tuple(map(self._overwrite, calls, await self._reader.call(calls)))

    def _overwrite(self, call: Call, result: CallResult) -> CallResult:
        if call.data[:4] != self._selector:
            return result
        at = 32 * self._word
        return CallSuccess(result.data[:at] + self._value.to_bytes(32, "big") + result.data[at + 32 :])


@pytest.mark.parametrize(
    ("signature", "word", "value"),
    [
        ("getReserveData(address)", 0, 2**256 - 1),  # a threshold of 655 %
        ("getReserveData(address)", 7, 128),  # an id beyond the bitmap
        ("getReserveData(address)", 10, 1),  # debt in a token that does not exist
        ("getReservesList()", 1, 2**64),
        ("BASE_CURRENCY_UNIT()", 0, 0),
        ("getAssetPrice(address)", 0, 0),
        ("decimals()", 0, 255),
    ],
)
async def test_impossible_answers_of_the_pool_are_refused_and_not_believed(aave, pin, user, signature, word, value):
    reader = Overwritten(await pin(), signature, word, value)
    reading = await aave.read(reader, [user("edge-ether")])

    assert reading.silos == ()
    assert [missing.code for missing in reading.unread] in (["answer_malformed"], ["no_code"])


async def test_debt_that_the_pool_reports_but_no_token_shows_is_never_zero(aave, pin, user):
    reader = Overwritten(await pin(), "getUserConfiguration(address)", 0, 0b10)  # collateral without debt
    reading = await aave.read(reader, [user("edge-ether")])

    assert reading.silos == ()
    assert "reports debt" in reading.unread[0].detail
