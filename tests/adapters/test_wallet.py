"""Plain balances."""

import pytest

from adapters.protocols.wallet import Deployment, adapter
from devnet.local_chain import Devnet
from riskschema.codec import from_builtins
from riskschema.errors import InvalidData
from riskschema.ports import ProtocolAdapter
from riskschema.units import ZERO_ADDRESS, Address

REVERT = "0x60006000fd"


@pytest.fixture
def wallet(chain: Devnet) -> ProtocolAdapter:
    tokens = tuple(Address(asset.token) for asset in chain.deployment.assets)
    return adapter(
        Deployment(tokens=tokens), chain_id=chain.deployment.chain_id, assets={ZERO_ADDRESS: "ETH", tokens[0]: "ETH"}
    )


@pytest.mark.chain
async def test_balances_are_the_chains_own(chain, wallet, pin, user):
    [silo] = (await wallet.read(await pin(), [user("everywhere")])).silos

    held = {position.instrument.symbol: position.quantity for position in silo.positions}
    assert held.pop("ETH") == int(chain.anvil.rpc.request("eth_getBalance", user("everywhere"), "latest"), 16)
    assert held == {
        asset.symbol: chain.call("MintableToken", asset.token, "balanceOf", user("everywhere"))[0]
        for asset in chain.deployment.assets
    }
    assert silo.health is None


@pytest.mark.chain
async def test_factors_come_from_the_map_and_else_from_the_asset_id(chain, wallet, pin, user):
    [silo] = (await wallet.read(await pin(), [user("everywhere")])).silos

    factors = {position.instrument.symbol: position.instrument.factor for position in silo.positions}
    usdc = Address(chain.deployment.asset("USDC").token)
    assert factors["ETH"] == "ETH"
    assert factors["USDC"] == f"eip155:{chain.deployment.chain_id}/erc20:{usdc}"


@pytest.mark.chain
async def test_a_reverting_token_is_unread_and_the_others_are_kept(chain, wallet, pin, user):
    wbtc = Address(chain.deployment.asset("WBTC").token)
    chain.anvil.rpc.request("anvil_setCode", wbtc, REVERT)
    reading = await wallet.read(await pin(), [user("everywhere")])

    assert [(missing.market, missing.code) for missing in reading.unread] == [(wbtc, "call_reverted")]
    assert {p.instrument.symbol for p in reading.silos[0].positions} == {"ETH", "WETH", "USDC"}


@pytest.mark.chain
async def test_an_empty_account_has_no_silo(wallet, pin):
    reading = await wallet.read(await pin(), [Address("0x" + "77" * 20)])

    assert reading.silos == reading.unread == ()


def test_a_deployment_with_a_wrong_address_or_key_is_refused_by_name():
    with pytest.raises(InvalidData, match=r"tokens\[0\]"):
        from_builtins({"tokens": ["0x12"]}, Deployment, what="wallet")
    with pytest.raises(InvalidData, match="tokns"):
        from_builtins({"tokns": []}, Deployment, what="wallet")
