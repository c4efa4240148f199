"""The Morpho adapter against the real singleton: equal to the digit after interest, crash and liquidation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.abi import ContractRefusal
from adapters.discovery import discover
from adapters.protocols.morpho_blue import Deployment, adapter
from adapters.protocols.morpho_blue.interest import Totals, accrue
from devnet.local_chain import Devnet
from devnet.prices import crash
from riskschema.instruments import Claim, Debt, Token
from riskschema.portfolio import Silo, WeightedCollateral
from riskschema.ports import ProtocolAdapter
from riskschema.units import WAD, Address, Hash32

UNLIMITED = 2**256 - 1
REVERT = "0x60006000fd"
HUGE = st.integers(0, 2**128 - 1)


@pytest.fixture
def morpho(chain: Devnet) -> ProtocolAdapter:
    deployed = chain.deployment.morpho
    deployment = Deployment(
        singleton=Address(deployed.singleton), markets=tuple(Hash32(market.market_id) for market in deployed.markets)
    )
    return adapter(deployment, chain_id=chain.deployment.chain_id, assets={})


def parameters(chain: Devnet, market_id: str) -> tuple[object, ...]:
    return chain.call("Morpho", chain.deployment.morpho.singleton, "idToMarketParams", bytes.fromhex(market_id[2:]))


def liquidatable(chain: Devnet, silo: Silo) -> bool:
    """Ask the contract: a liquidation of one share of debt passes the health check, or is refused as healthy."""
    arguments = (parameters(chain, silo.market), silo.account, 0, 10**6, b"")
    data = chain.artifacts["Morpho"].call_data("liquidate", *arguments)
    request = {"from": chain.deployment.liquidator, "to": chain.deployment.morpho.singleton, "data": data}
    answer = chain.anvil.rpc.answers([("eth_call", [request, "latest"])])[0]
    return "position is healthy" not in answer.get("error", {}).get("message", "")


def borrowers(silos: tuple[Silo, ...]) -> list[Silo]:
    return [silo for silo in silos if isinstance(silo.rule, WeightedCollateral) and silo.health is not None]


def contract_debt(chain: Devnet, silo: Silo) -> int:
    singleton, id_ = chain.deployment.morpho.singleton, bytes.fromhex(silo.market[2:])
    _, shares, _ = chain.call("Morpho", singleton, "position", id_, silo.account)
    _, _, assets, total, _, _ = chain.call("Morpho", singleton, "market", id_)
    return -(-shares * (assets + 1) // (total + 10**6))


def contract_claim(chain: Devnet, silo: Silo) -> int:
    singleton, id_ = chain.deployment.morpho.singleton, bytes.fromhex(silo.market[2:])
    shares, _, _ = chain.call("Morpho", singleton, "position", id_, silo.account)
    assets, total, *_ = chain.call("Morpho", singleton, "market", id_)
    return shares * (assets + 1) // (total + 10**6)


def contract_health(chain: Devnet, silo: Silo) -> int:
    """The contract's maxBorrow over its debt, both in its own integers."""
    singleton, id_ = chain.deployment.morpho.singleton, bytes.fromhex(silo.market[2:])
    _, _, oracle, _, lltv = parameters(chain, silo.market)
    _, _, collateral = chain.call("Morpho", singleton, "position", id_, silo.account)
    (price,) = chain.call("FeedOracle", str(oracle), "price")
    return (collateral * price // 10**36 * int(str(lltv)) // WAD) * WAD // contract_debt(chain, silo)


def quantity(silo: Silo, kind: type) -> int:
    return sum(p.quantity for p in silo.positions if isinstance(p.instrument, kind))


@pytest.mark.chain
@pytest.mark.parametrize("seconds", [1, 3_600, 90 * 86_400])
async def test_interest_is_accrued_to_the_pinned_block_as_the_contract_would(chain, morpho, pin, everyone, seconds):
    chain.anvil.advance_time(seconds)
    pinned = await pin()
    reading = await morpho.read(pinned, everyone)
    assert reading.unread == ()
    assert len(borrowers(reading.silos)) >= 6

    # the same second, but written down by the contract
    accrue_all(chain, at=pinned.block.timestamp)
    for silo in reading.silos:
        if isinstance(silo.rule, WeightedCollateral):
            assert -quantity(silo, Debt) == contract_debt(chain, silo)
            if silo.health is not None:
                assert silo.health == contract_health(chain, silo)
        else:
            assert quantity(silo, Claim) == contract_claim(chain, silo)
    written_down = (await morpho.read(await pin(), everyone)).silos
    assert [figures(silo) for silo in written_down] == [figures(silo) for silo in reading.silos]


def figures(silo: Silo) -> tuple[object, ...]:
    """Everything but the rates, which the model answers anew for the accrued market."""
    return silo.id, silo.health, [position.quantity for position in silo.positions]


def accrue_all(chain: Devnet, *, at: int) -> None:
    """Let the contract accrue in blocks of exactly the timestamp `at`."""
    chain.anvil.rpc.request("anvil_setBlockTimestampInterval", 0)
    try:
        for market in chain.deployment.morpho.markets:
            chain.send(
                "Morpho",
                chain.deployment.morpho.singleton,
                "accrueInterest",
                parameters(chain, market.market_id),
                sender=chain.deployment.trader,
            )
    finally:
        chain.anvil.rpc.request("anvil_removeBlockTimestampInterval")
    assert int(chain.anvil.rpc.request("eth_getBlockByNumber", "latest", False)["timestamp"], 16) == at


@pytest.mark.chain
async def test_health_is_below_one_exactly_where_the_contract_liquidates(chain, morpho, pin, everyone):
    before = borrowers((await morpho.read(await pin(), everyone)).silos)
    assert not any(liquidatable(chain, silo) for silo in before)
    crash(chain, percent=15)
    after = borrowers((await morpho.read(await pin(), everyone)).silos)

    assert {silo.health is not None and silo.health < WAD for silo in after} == {True, False}
    for silo in after:
        assert silo.health is not None
        assert liquidatable(chain, silo) == (silo.health < WAD)


@pytest.mark.chain
async def test_a_liquidation_is_read_as_the_contract_left_it(chain, morpho, pin, everyone, user):
    crash(chain, percent=15)
    victim = next(
        s for s in borrowers((await morpho.read(await pin(), everyone)).silos) if s.account == user("blue-edge")
    )
    singleton, liquidator = chain.deployment.morpho.singleton, chain.deployment.liquidator
    usdc = chain.deployment.asset("USDC").token
    chain.send("MintableToken", usdc, "approve", singleton, UNLIMITED, sender=liquidator)
    seized = 2 * 10**18
    chain.send(
        "Morpho", singleton, "liquidate", parameters(chain, victim.market), victim.account, seized, 0, b"",
        sender=liquidator,
    )  # fmt: skip

    [left] = borrowers((await morpho.read(await pin(), [victim.account])).silos)
    assert quantity(left, Token) == quantity(victim, Token) - seized
    assert -quantity(left, Debt) == contract_debt(chain, left) < -quantity(victim, Debt)
    assert left.health == contract_health(chain, left)
    bonus = left.rule.terms[0].liquidation_bonus
    repaid = -quantity(victim, Debt) + quantity(left, Debt)
    value = seized * left.rule.terms[0].price // 10**30
    assert value * WAD // (WAD + bonus) == pytest.approx(repaid, rel=1e-6)


@pytest.mark.chain
async def test_every_seeded_account_is_discovered(morpho, pin, everyone):
    reading = await morpho.read(await pin(), everyone)

    found = (await discover(morpho, await pin(), start_block=0)).accounts
    assert {silo.account for silo in reading.silos} <= found
    assert len(found) >= 8


@pytest.mark.chain
@pytest.mark.parametrize("break_it", ["reverts", "answers zero"])
async def test_an_oracle_without_a_price_leaves_borrowers_unread_but_not_lenders(chain, morpho, pin, user, break_it):
    market = chain.deployment.market("WETH", "USDC")
    code = REVERT if break_it == "reverts" else "0x60206000f3"
    chain.anvil.rpc.request("anvil_setCode", market.oracle, code)
    reading = await morpho.read(await pin(), [user("blue-edge"), user("blue-lender"), user("blue-bitcoin")])

    assert [(missing.account, missing.market) for missing in reading.unread] == [(user("blue-edge"), market.market_id)]
    assert reading.aside == ()
    assert {silo.account for silo in reading.silos} == {user("blue-lender"), user("blue-bitcoin")}


@pytest.mark.chain
async def test_a_reverting_rate_model_leaves_debtors_unread_and_sets_aside_what_others_have_there(
    chain, morpho, pin, everyone
):
    sound = await morpho.read(await pin(), everyone)
    debtors = {(silo.account, silo.market) for silo in sound.silos if silo.health is not None}
    chain.anvil.rpc.request("anvil_setCode", chain.deployment.morpho.interest_rate_model, REVERT)
    reading = await morpho.read(await pin(), everyone)

    assert reading.silos == ()
    assert {missing.code for missing in reading.unread} == {"call_reverted"}
    assert {(missing.account, missing.market) for missing in reading.unread} == debtors
    others = {(silo.account, silo.market) for silo in sound.silos} - debtors
    assert others <= {(spare.account, spare.market) for spare in reading.aside}


@pytest.mark.chain
async def test_what_somebody_lends_for_another_in_a_market_that_breaks_takes_nothing_from_him(chain, morpho, pin, user):
    victim, lender = user("saver"), user("blue-lender")
    usdc, singleton = chain.deployment.asset("USDC").token, chain.deployment.morpho.singleton
    market = chain.deployment.market("WETH", "USDC")
    parameters = chain.call("Morpho", singleton, "idToMarketParams", bytes.fromhex(market.market_id[2:]))
    chain.send("MintableToken", usdc, "approve", singleton, 10**6, sender=lender)
    chain.send("MintableToken", usdc, "mint", lender, 10**6, sender=chain.deployment.deployer)
    chain.send("Morpho", singleton, "supply", parameters, 10**6, 0, victim, b"", sender=lender)
    assert (await morpho.read(await pin(), [victim])).silos
    chain.anvil.rpc.request("anvil_setCode", chain.deployment.morpho.interest_rate_model, REVERT)
    reading = await morpho.read(await pin(), [victim])

    assert reading.silos == reading.unread == ()
    assert [spare.market for spare in reading.aside] == [market.market_id]


@pytest.mark.chain
async def test_a_market_that_does_not_exist_is_said_to_be_missing(chain, pin, user):
    deployment = Deployment(singleton=Address(chain.deployment.morpho.singleton), markets=(Hash32(b"\1" * 32),))
    absent = adapter(deployment, chain_id=chain.deployment.chain_id, assets={})
    reading = await absent.read(await pin(), [user("blue-edge")])

    assert reading.silos == ()
    assert "there is no market" in reading.unread[0].detail


@given(borrowed=HUGE, supplied=HUGE, shares=HUGE, rate=st.integers(0, 10**12), seconds=st.integers(0, 10**9))
def test_accrual_never_shrinks_a_market_and_gives_lenders_what_borrowers_pay(borrowed, supplied, shares, rate, seconds):
    stored = Totals(supply_assets=supplied, supply_shares=shares, borrow_assets=borrowed, borrow_shares=shares, fee=0)
    try:
        accrued = accrue(stored, rate_per_second=rate, elapsed=seconds)
    except ContractRefusal:
        interest = borrowed * (rate * seconds) // WAD
        assert max(borrowed, supplied) + interest * (1 + rate * seconds // WAD) ** 2 >= 2**127
        return
    assert accrued.borrow_assets - borrowed == accrued.supply_assets - supplied >= 0
    assert accrued.supply_shares == shares


@given(fee=st.integers(0, WAD // 4), rate=st.integers(0, 10**10), seconds=st.integers(0, 10**8))
def test_fee_shares_are_worth_at_most_the_fee(fee, rate, seconds):
    stored = Totals(supply_assets=10**15, supply_shares=10**21, borrow_assets=10**15, borrow_shares=10**21, fee=fee)
    accrued = accrue(stored, rate_per_second=rate, elapsed=seconds)
    interest = accrued.borrow_assets - stored.borrow_assets
    worth = accrued.pending_fee_shares * (accrued.supply_assets + 1) // (accrued.supply_shares + 10**6)
    assert worth <= interest * fee // WAD


@pytest.mark.chain
async def test_the_fee_recipient_gets_what_accrual_would_mint_it(chain, morpho, pin, everyone, user):
    singleton, owner = chain.deployment.morpho.singleton, chain.deployment.deployer
    recipient = user("blue-lender")
    chain.send("Morpho", singleton, "setFeeRecipient", recipient, sender=owner)
    for market in chain.deployment.morpho.markets:
        chain.send("Morpho", singleton, "setFee", parameters(chain, market.market_id), WAD // 5, sender=owner)
    chain.anvil.advance_time(40 * 86_400)
    pinned = await pin()
    reading = await morpho.read(pinned, everyone)
    accrue_all(chain, at=pinned.block.timestamp)

    claims = [silo for silo in reading.silos if silo.account == recipient]
    assert len(claims) == len(chain.deployment.morpho.markets)  # also where it lends nothing
    for silo in claims:
        assert quantity(silo, Claim) == contract_claim(chain, silo)
    written_down = (await morpho.read(await pin(), everyone)).silos
    assert [figures(silo) for silo in written_down] == [figures(silo) for silo in reading.silos]
