"""What the clients of the network answer, and what it means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.chains.answers import RpcError, as_revert, failure, is_rate_limit, is_too_many_logs, to_block
from riskschema.errors import TransientError

ERROR_STRING = "0x08c379a0" + "00" * 31 + "20" + "00" * 31 + "02" + "3435" + "00" * 30

FACTS = [
    RpcError(3, "execution reverted: 45", ERROR_STRING),  # geth, reth, anvil
    RpcError(-32000, "execution reverted"),  # older geth, besu
    RpcError(-32015, "VM execution error.", "Reverted " + ERROR_STRING),  # Nethermind
    RpcError(-32000, "VM Exception while processing transaction: reverted with reason string 'x'"),  # Hardhat
    RpcError(-32000, "out of gas"),
    RpcError(-32003, "Out of gas: gas required exceeds allowance: 16000000"),  # anvil
    RpcError(-32000, "invalid opcode: INVALID"),
    RpcError(-32603, "EVM error: InvalidFEOpcode"),  # reth, anvil
    RpcError(-32603, "EVM error OutOfGas"),
    RpcError(-32603, "EVM error MemoryOOG"),
    RpcError(-32000, "stack underflow (0 <=> 1)"),
    RpcError(-32000, "invalid jump destination"),
    RpcError(-32000, "write protection"),
    RpcError(3, "execution reverted: header not found"),  # the contract chose these words
    RpcError(3, "execution reverted: rate limit"),
    RpcError(-32000, "execution reverted: too many requests"),
]
UNKNOWN_BLOCKS = [
    RpcError(-32000, "header not found"),  # geth
    RpcError(-32001, "block not found"),
    RpcError(-32000, "hash 0x12 is not currently canonical"),  # geth, requireCanonical
    RpcError(-32000, "missing trie node 1a2b (path ) state 0x1a2b is not available"),
    RpcError(-32001, "Block not found"),  # anvil
    RpcError(-32602, "Unknown block"),
    RpcError(-32000, "block is out of range"),
]
RATE_LIMITS = [
    RpcError(-32005, "limit exceeded"),
    RpcError(429, "Your app has exceeded its compute units per second capacity."),
    RpcError(-32000, "Too Many Requests"),
]
TOO_MANY_LOGS = [
    RpcError(-32005, "query returned more than 10000 results"),
    RpcError(-32000, "exceed maximum block range: 5000"),
    RpcError(-32602, "Log response size exceeded."),
    RpcError(-32000, "block range is too wide"),
]
REFUSALS = [
    RpcError(-32601, "the method eth_call does not exist/is not available"),
    RpcError(-32000, "execution aborted (timeout = 5s)"),
    RpcError(-32603, "Internal error"),
    RpcError(-32603, "EVM error FatalExternalError"),
    RpcError(-32603, "EVM error: database error: could not load account"),
    RpcError(-32600, "Unauthorized"),
    RpcError(0, ""),
]


@pytest.mark.parametrize("error", FACTS)
def test_a_revert_is_a_fact_of_the_chain_in_any_clients_words(error):
    assert as_revert(error) is not None
    assert not is_rate_limit(error)


@pytest.mark.parametrize("error", UNKNOWN_BLOCKS + RATE_LIMITS + REFUSALS)
def test_a_failure_of_the_endpoint_is_never_taken_for_a_revert(error):
    assert as_revert(error) is None


@pytest.mark.parametrize("error", UNKNOWN_BLOCKS)
def test_an_unknown_block_is_told_from_a_refusal(error):
    assert failure(error, "x").code == ("history_pruned" if "trie node" in error.message else "block_unknown")


@pytest.mark.parametrize("error", REFUSALS)
def test_everything_else_is_a_refusal(error):
    assert failure(error, "x").code == "endpoint_refused"
    assert not is_rate_limit(error)


@pytest.mark.parametrize("error", RATE_LIMITS)
def test_a_plea_to_slow_down_is_recognised(error):
    assert is_rate_limit(error)


@pytest.mark.parametrize("error", TOO_MANY_LOGS)
def test_a_query_that_is_too_wide_is_no_rate_limit(error):
    assert is_too_many_logs(error)
    assert not is_rate_limit(error)


def test_the_returned_bytes_are_found_in_either_place():
    assert as_revert(FACTS[0]).data == as_revert(FACTS[2]).data == bytes.fromhex(ERROR_STRING[2:])


@given(st.text())
def test_whatever_a_contract_says_after_execution_reverted_stays_a_fact(words):
    assert as_revert(RpcError(3, f"execution reverted: {words}")) is not None
    assert as_revert(RpcError(-32000, f"execution reverted: {words}")) is not None


@pytest.mark.parametrize("field", ["number", "timestamp"])
def test_a_blocks_height_and_time_end_where_other_readers_of_json_lose_whole_numbers(field):
    block = {"number": "0x1", "timestamp": "0x1", "hash": "0x" + "ab" * 32}
    assert getattr(to_block({**block, field: hex(2**53)}, 1, "x"), field) == 2**53
    with pytest.raises(TransientError, match="impossible height or time") as caught:
        to_block({**block, field: hex(2**53 + 1)}, 1, "x")
    assert caught.value.code == "endpoint_malformed"


@given(
    st.integers(-(2**31), 2**31),
    st.text(),
    st.one_of(st.none(), st.text(), st.integers(), st.dictionaries(st.text(), st.none())),
)
def test_any_error_object_has_a_printable_meaning(code, message, data):
    error = RpcError(code, message, data)
    said = as_revert(error)
    assert (said.message if said else failure(error, "x").message).isprintable()
