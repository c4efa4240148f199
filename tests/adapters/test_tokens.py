"""What a token is: an index of another where a contract says so."""

from __future__ import annotations

import pytest

from adapters.protocols import aave_v3, wallet
from riskschema.instruments import Claim, Debt, WrappedToken
from riskschema.ports import AssetFactors, IndexedAsset
from riskschema.units import WAD, Address

INDEX = 1_193_000_000_000_000_000
RATES = Address("0x" + "5a" * 20)
REVERT = "0x60006000fd"


def answering(word: int) -> str:
    """Return the code of a contract that answers one word to everything."""
    return f"0x7f{word:064x}60005260206000f3"


def staked(chain) -> tuple[Address, AssetFactors]:
    """Return a token of the chain, taken for one whose index another contract tells."""
    token = Address(chain.deployment.asset("WETH").token)
    asset = IndexedAsset(factor="WSTETH", underlying="STETH", function="stEthPerToken()", contract=RATES)
    return token, {token: asset}


@pytest.mark.chain
async def test_wallets_claims_and_debts_hold_a_token_as_an_index_of_what_it_wraps(chain, pin, user):
    token, assets = staked(chain)
    chain.anvil.rpc.request("anvil_setCode", RATES, answering(INDEX))
    chain_id = chain.deployment.chain_id
    pool = aave_v3.Deployment(addresses_provider=Address(chain.deployment.aave.addresses_provider))
    adapters = [
        wallet.adapter(wallet.Deployment(tokens=(token,)), chain_id=chain_id, assets=assets),
        aave_v3.adapter(pool, chain_id=chain_id, assets=assets),
    ]
    pinned = await pin()
    found = set()
    for adapter in adapters:
        for silo in (await adapter.read(pinned, [user("everywhere")])).silos:
            for position in silo.positions:
                held = position.instrument
                held = held.token if isinstance(held, Claim | Debt) else held
                if held.address == token:
                    found.add(held)
    [one] = found
    assert isinstance(one, WrappedToken)
    assert (one.index, one.factor, one.underlying.factor, one.symbol) == (INDEX, "WSTETH", "STETH", "WETH")


@pytest.mark.chain
@pytest.mark.parametrize(("code", "reason"), [(REVERT, "call_reverted"), (answering(WAD**2), "answer_malformed")])
async def test_a_token_whose_index_nobody_tells_is_set_aside(chain, pin, user, code: str, reason: str):
    token, assets = staked(chain)
    chain.anvil.rpc.request("anvil_setCode", RATES, code)
    adapter = wallet.adapter(wallet.Deployment(tokens=(token,)), chain_id=chain.deployment.chain_id, assets=assets)
    reading = await adapter.read(await pin(), [user("everywhere")])
    assert [(each.market, each.code) for each in reading.aside] == [(token, reason)]
