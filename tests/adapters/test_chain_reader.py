"""The chain reader on the real local chain."""

import pytest

from devnet.local_chain import Devnet
from riskschema.errors import FatalError, TransientError
from riskschema.portfolio import BlockReference
from riskschema.ports import Call, CallReverted, CallSuccess
from riskschema.units import Address, Hash32
from tests.adapters.devnet_chain import open_devnet

SOMEWHERE = Address("0x" + "5a" * 20)
STOP_WITH = {
    "timestamp": "0x4260005260206000f3",
    "number": "0x4360005260206000f3",
    "revert": "0x60006000fd",
    "invalid": "0xfe",
    "loop": "0x5b600056",
    "flood": "0x620f42406000f3",
    "underflow": "0x01",
    # Error("header not found")
    "impostor": "0x7f08c379a00000000000000000000000000000000000000000000000000000000060005260206004527f00000000000000000000000000000000000000000000000000000000000000106024527f686561646572206e6f7420666f756e640000000000000000000000000000000060445260646000fd",  # noqa: E501
}


def put_code(chain: Devnet, name: str) -> Call:
    chain.anvil.rpc.request("anvil_setCode", SOMEWHERE, STOP_WITH[name])
    return Call(SOMEWHERE, b"")


@pytest.mark.chain
@pytest.mark.parametrize(("name", "field"), [("timestamp", "timestamp"), ("number", "number")])
async def test_calls_see_the_pinned_blocks_own_number_and_time(chain, reader, pin, name, field):
    call = put_code(chain, name)
    chain.anvil.mine(2)
    pinned = await pin()
    chain.anvil.advance_time(1_000)
    chain.anvil.mine(3)

    [answer] = await pinned.call([call])
    assert int.from_bytes(answer.data, "big") == getattr(pinned.block, field)


@pytest.mark.chain
async def test_reads_stay_at_the_pin_while_the_chain_goes_on(chain, pin, user):
    pinned = await pin()
    before = await pinned.native_balances([user("holder")])
    chain.anvil.mine()
    chain.anvil.set_balance(user("holder"), 1)
    chain.anvil.mine()

    assert await pinned.native_balances([user("holder")]) == before
    assert await (await pin()).native_balances([user("holder")]) == (1,)


@pytest.mark.chain
@pytest.mark.parametrize("name", ["revert", "invalid", "loop", "underflow", "impostor"])
async def test_a_failing_contract_is_a_value_beside_the_answers_of_others(chain, pin, name):
    bad = put_code(chain, name)
    good = Call(Address(chain.deployment.asset("USDC").token), bytes.fromhex("313ce567"))
    chain.anvil.mine()

    first, second, third = await (await pin()).call([good, bad, good])
    assert first == third == CallSuccess((6).to_bytes(32, "big"))
    assert isinstance(second, CallReverted)


@pytest.mark.chain
async def test_a_contract_that_floods_does_not_stop_the_reading_of_others(chain):
    flood = put_code(chain, "flood")
    good = Call(Address(chain.deployment.asset("USDC").token), bytes.fromhex("313ce567"))
    chain.anvil.mine()
    async with open_devnet(chain, max_answer_bytes=5_000_000) as opened:
        pinned = await opened.pin(await opened.head())
        answers = await pinned.call([good, flood, good, flood, flood, flood, good])
        assert [len(answer.data) for answer in answers] == [32, *[1_000_000 if i != 1 else 32 for i in range(5)], 32]
        # with little gas there is little flood
        assert isinstance((await pinned.call([Call(SOMEWHERE, b"", 200_000)]))[0], CallReverted)


@pytest.mark.chain
async def test_an_address_without_code_answers_nothing(pin):
    assert await (await pin()).call([Call(SOMEWHERE, b"")]) == (CallSuccess(b""),)


@pytest.mark.chain
async def test_order_is_kept_over_many_batches(chain, user):
    token = Address(chain.deployment.asset("USDC").token)
    accounts = [Address(each.address) for each in chain.deployment.users] * 5
    calls = [Call(token, bytes.fromhex("70a08231" + account[2:].rjust(64, "0"))) for account in accounts]
    async with open_devnet(chain, batch_size=7, concurrency=3) as opened:
        pinned = await opened.pin(await opened.head())
        answers = await pinned.call(calls)

    balances = [chain.call("MintableToken", token, "balanceOf", account)[0] for account in accounts]
    assert [int.from_bytes(answer.data, "big") for answer in answers] == balances


@pytest.mark.chain
async def test_confirmations_stay_behind_the_head_and_never_below_genesis(chain):
    async with open_devnet(chain) as opened:
        newest = await opened.head()
    async with open_devnet(chain, confirmations=3) as opened:
        assert await opened.head() == await opened.block(newest.number - 3)
    async with open_devnet(chain, confirmations=10**6) as opened:
        assert (await opened.head()).number == 0


@pytest.mark.chain
async def test_a_wrong_chain_id_or_genesis_is_refused(chain):
    with pytest.raises(FatalError, match="serves chain 31337, not 1") as refused:
        async with open_devnet(chain, chain_id=1):
            pass
    assert refused.value.code == "wrong_chain"
    with pytest.raises(FatalError, match="genesis") as refused:
        async with open_devnet(chain, genesis_hash=Hash32(b"\7" * 32)):
            pass
    assert refused.value.code == "wrong_chain"
    async with open_devnet(chain, genesis_hash=Hash32(chain.deployment.genesis_hash)) as opened:
        assert opened.genesis_hash == chain.deployment.genesis_hash


@pytest.mark.chain
async def test_a_reorganised_block_is_noticed_when_pinning_and_when_reading(chain, reader, pin, user):
    chain.anvil.mine(3)
    pinned = await pin()
    chain.anvil.reorganise(2)

    for attempt in (
        pinned.native_balances([user("holder")]),
        pinned.call([Call(SOMEWHERE, b"")]),
        pinned.logs(addresses=[SOMEWHERE], topics=[], from_block=0),
        reader.pin(pinned.block),
    ):
        with pytest.raises(TransientError) as noticed:
            await attempt
        assert noticed.value.code == "block_unknown"


@pytest.mark.chain
async def test_a_block_reference_that_does_not_fit_its_hash_is_refused(reader):
    head = await reader.head()
    wrong = BlockReference(chain_id=head.chain_id, number=head.number - 1, hash=head.hash, timestamp=head.timestamp)
    with pytest.raises(TransientError, match="is not at height"):
        await reader.pin(wrong)
    with pytest.raises(TransientError, match="does not know the block"):
        await reader.block(10**9)


@pytest.mark.chain
async def test_logs_are_the_same_in_small_steps_and_end_at_the_pin(chain, pin):
    token = Address(chain.deployment.asset("USDC").token)
    pinned = await pin()
    whole = await pinned.logs(addresses=[token], topics=[], from_block=0)
    chain.send("MintableToken", token, "mint", SOMEWHERE, 1, sender=chain.deployment.trader)
    assert await pinned.logs(addresses=[token], topics=[], from_block=0) == whole
    async with open_devnet(chain, log_range=2) as opened:
        narrow = await (await opened.pin(pinned.block)).logs(addresses=[token], topics=[], from_block=0)

    assert len(whole) > 20
    assert narrow == whole
    assert await pinned.logs(addresses=[], topics=[], from_block=0) == ()
