"""The deployment: the same every time, complete, and readable back from JSON."""

import time

import msgspec
import pytest

from devnet.errors import TransactionReverted
from devnet.launch import FIXED_GENESIS, HISTORY_SECONDS, launch
from devnet.local_chain import Devnet
from devnet.transactions import checksum_address, created_address

pytestmark = pytest.mark.chain


def head(devnet: Devnet) -> dict[str, str]:
    height = hex(devnet.deployment.seeded_block)
    return devnet.anvil.rpc.request("eth_getBlockByNumber", height, False)


def test_the_chain_is_the_same_to_the_last_hash_every_time(devnet: Devnet) -> None:
    with launch(genesis_timestamp=FIXED_GENESIS) as second:
        assert second.deployment == devnet.deployment
        assert head(second)["hash"] == head(devnet)["hash"]
    assert int(head(devnet)["timestamp"], 16) == FIXED_GENESIS + HISTORY_SECONDS


def test_a_chain_on_the_wall_clock_ends_its_seeding_now_at_the_same_addresses(devnet: Devnet) -> None:
    with launch() as second:
        now = second.deployment
        assert abs(int(head(second)["timestamp"], 16) - time.time()) < 60
    assert msgspec.structs.replace(now, genesis_hash=devnet.deployment.genesis_hash) == devnet.deployment


def test_every_address_of_a_contract_has_code(devnet: Devnet) -> None:
    deployment = devnet.deployment
    addresses = [
        deployment.price_board,
        *(address for asset in deployment.assets for address in (asset.token, asset.feed)),
        *msgspec.structs.astuple(deployment.aave),
        deployment.morpho.singleton,
        deployment.morpho.interest_rate_model,
        *(market.oracle for market in deployment.morpho.markets),
        deployment.uniswap.factory,
        deployment.uniswap.position_manager,
        deployment.uniswap.router,
        *(pool.address for pool in deployment.uniswap.pools),
    ]
    codes = devnet.anvil.rpc.batch([("eth_getCode", [address, "latest"]) for address in addresses])
    assert all(len(code) > 2 for code in codes)


@pytest.mark.parametrize("nonce", [1, 127, 128, 255, 256, 70_000])
def test_created_addresses_are_those_the_chain_gives(chain: Devnet, nonce: int) -> None:
    account = chain.deployment.operator
    chain.anvil.rpc.request("anvil_setNonce", account, hex(nonce))

    receipt = chain.transact({"from": account, "data": "0x00", "nonce": hex(nonce)})

    assert checksum_address(receipt["contractAddress"]) == created_address(account, nonce)


@pytest.mark.parametrize(
    "address",
    [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_checksums_are_those_of_eip_55(address: str) -> None:
    assert checksum_address(address.lower()) == address


def test_a_refused_transaction_names_the_call_and_the_contracts_reason(chain: Devnet) -> None:
    poor, weth = chain.deployment.user("saver").address, chain.deployment.asset("WETH").token
    with pytest.raises(TransactionReverted, match=r"MintableToken\.transfer.*balance too low"):
        chain.send("MintableToken", weth, "transfer", chain.deployment.trader, 10**18, sender=poor)
