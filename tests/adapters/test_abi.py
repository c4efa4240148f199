"""Answers of contracts: read exactly, or refused with words that are the same on every node."""

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from adapters.abi import (
    ContractRefusal,
    Function,
    address_topic,
    event_topic,
    known,
    revert_reason,
)
from adapters.tokens import clean_symbol, factor_of
from riskschema.ports import CallReverted, CallSuccess
from riskschema.reasons import REASONS
from riskschema.units import ZERO_ADDRESS, Address, Hash32

CONTRACT = Address("0x" + "ab" * 20)
BALANCE = Function("balanceOf(address)", "(uint256)")
SHAPES = [
    BALANCE,
    Function("getReservesList()", "(address[])"),
    Function("getEModeCategoryData(uint8)", "((uint16,uint16,uint16,address,string))"),
    Function("positions(uint256)", "(uint96,address,address,address,uint24,int24,int24,uint128,uint256)"),
    Function("symbol()", "(string)"),
]


def reason(text: str) -> bytes:
    return bytes.fromhex("08c379a0") + encode(["string"], [text])


def test_selectors_and_topics_are_the_published_ones():
    assert BALANCE.selector.hex() == "70a08231"
    assert event_topic("Transfer(address,address,uint256)").startswith("0xddf252ad1be2c89b69c2b068fc378daa")


@given(st.binary(min_size=20, max_size=20))
def test_the_short_way_of_encoding_an_address_is_the_standard_one(raw):
    account = Address("0x" + raw.hex())
    assert BALANCE.call(CONTRACT, account).data == BALANCE.selector + encode(["address"], [account])
    assert address_topic(Hash32(encode(["address"], [account]))) == account


@given(st.integers(0, 2**256 - 1))
def test_words_are_read_exactly(value):
    assert BALANCE.decode_one(CallSuccess(value.to_bytes(32, "big")), CONTRACT) == value


def test_addresses_come_back_as_addresses_at_any_depth():
    other = "0x" + "cd" * 20
    data = encode(["(uint16,uint16,uint16,address,string)"], [(1, 2, 3, other, "label")])
    assert SHAPES[2].decode(CallSuccess(data), CONTRACT) == ((1, 2, 3, Address(other), "label"),)
    listed = SHAPES[1].decode_one(CallSuccess(encode(["address[]"], [[other, other]])), CONTRACT)
    assert all(isinstance(each, Address) for each in listed)


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (
            CallReverted(reason("45"), "client's words"),
            "call_reverted",
            r"balanceOf\(address\) at 0xab.* reverts: '45'",
        ),
        (CallReverted(b"", "client's words"), "call_reverted", "reverts$"),
        (CallReverted(bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big"), ""), "call_reverted", "panic 0x11"),
        (CallReverted(bytes.fromhex("deadbeef00"), ""), "call_reverted", "error 0xdeadbeef"),
        (CallSuccess(b""), "no_code", "no such contract"),
        (CallSuccess(b"\1" * 31), "answer_malformed", "nonsense"),
        (CallSuccess(bytes(300_000)), "answer_malformed", "too much"),
    ],
)
def test_a_refusal_says_what_the_chain_said_and_nothing_of_the_client(answer, code, said):
    with pytest.raises(ContractRefusal, match=said) as refused:
        BALANCE.decode(answer, CONTRACT)
    assert refused.value.code == code
    assert "client" not in refused.value.message


def test_an_address_with_dirty_upper_bytes_is_malformed():
    with pytest.raises(ContractRefusal, match="nonsense"):
        Function("owner()", "(address)").decode(CallSuccess(b"\xff" * 32), CONTRACT)


@given(st.sampled_from(SHAPES), st.binary(max_size=600))
def test_any_bytes_are_either_read_or_refused(function, data):
    for answer in (CallSuccess(data), CallReverted(data, "")):
        try:
            function.decode(answer, CONTRACT)
        except ContractRefusal as refusal:
            said = refusal
            assert said.code in REASONS
            assert said.message.isprintable()


@given(st.text())
def test_a_revert_reason_is_harmless(text):
    said = revert_reason(reason(text))
    assert said.isprintable()
    assert said.isascii()
    assert len(said) <= 102


@given(st.one_of(st.text().map(lambda text: encode(["string"], [text])), st.binary(max_size=200)))
def test_a_symbol_is_harmless(data):
    symbol = clean_symbol(CallSuccess(data))
    assert len(symbol) <= 20
    assert symbol.isascii()
    assert all(sign.isalnum() or sign in ".-+_" for sign in symbol)


def test_symbols_are_read_from_strings_and_from_32_bytes():
    assert clean_symbol(CallSuccess(encode(["string"], ["USDC"]))) == "USDC"
    assert clean_symbol(CallSuccess(b"MKR".ljust(32, b"\0"))) == "MKR"
    assert clean_symbol(CallSuccess(encode(["string"], ["<script>US\u202eD"]))) == "scriptUSD"
    assert clean_symbol(CallReverted(b"", "")) == ""


def test_a_factor_is_the_mapped_one_or_the_asset_id():
    assert factor_of(CONTRACT, 1, {CONTRACT: "USDC"}) == "USDC"
    assert factor_of(CONTRACT, 10, {}) == f"eip155:10/erc20:{CONTRACT}"
    assert factor_of(ZERO_ADDRESS, 1, {}) == "eip155:1/slip44:60"


def test_a_refusal_is_raised_where_it_is_needed():
    assert known((1, 2)) == (1, 2)
    with pytest.raises(ContractRefusal, match="why"):
        known(ContractRefusal("why", code="call_reverted"))
