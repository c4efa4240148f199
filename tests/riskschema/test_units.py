"""Integers with units: exact to and from decimal strings."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskschema.errors import InvalidData
from riskschema.units import ZERO_ADDRESS, Address, Amount, FixedPoint, Hash32, Probability, Usd, Wad, parse_address

UNITS = [Amount, Usd, Wad]
UINT256 = 2**256 - 1


@pytest.mark.parametrize("unit", UNITS)
@given(number=st.integers(-UINT256, UINT256))
def test_an_amount_written_and_read_again_is_the_same_to_the_last_unit(unit: type[FixedPoint], number: int):
    read = unit.parse(unit(number).wire())
    assert read == number
    assert type(read) is unit


@pytest.mark.parametrize("unit", UNITS)
@given(number=st.integers(-UINT256, UINT256))
def test_the_written_form_is_the_number_that_decimal_arithmetic_gives(unit: type[FixedPoint], number: int):
    with localcontext(prec=200):
        assert Decimal(unit(number).wire()) == Decimal(number) / 10**unit.decimals


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1.5", 150_000_000),
        ("-0.00000001", -1),
        ("0", 0),
        ("-0", 0),
        ("007", 700_000_000),
        ("1.10000000000000", 110_000_000),
        (3, 300_000_000),
        (-3, -300_000_000),
    ],
)
def test_decimal_strings_and_whole_numbers_are_read_exactly(text, wanted):
    assert Usd.parse(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "-", ".5", "5.", "1e3", "1_000", " 1", "1 ", "+1", "0x10", "NaN", "Infinity", "٣", "1.2.3", "1\n", "9" * 79],
)
def test_text_that_is_no_plain_decimal_is_refused(text):
    with pytest.raises(ValueError, match="decimal string"):
        Usd.parse(text)


@pytest.mark.parametrize("value", [True, 1.5, None, b"1", float("nan"), ["1"]])
def test_other_types_than_text_and_whole_numbers_are_refused(value):
    with pytest.raises(ValueError, match="as a decimal string"):
        Usd.parse(value)


def test_digits_that_the_unit_cannot_hold_are_refused_rather_than_rounded():
    with pytest.raises(ValueError, match="more than 8 digits"):
        Usd.parse("0.000000001")
    with pytest.raises(ValueError, match="more than 0 digits"):
        Amount.parse("1.5")


def test_zero_is_the_default_of_optional_amounts():
    assert (Wad.zero(), Wad.zero().wire()) == (0, "0.000000000000000000")


@given(st.integers(0, 1_000_000))
def test_a_probability_survives_its_written_form(ppm):
    assert Probability.parse(Probability(ppm).wire()) == ppm


@pytest.mark.parametrize("value", [-0.1, 1.0000001, float("nan"), float("inf"), True, "0.5", None])
def test_what_is_no_probability_is_refused(value):
    with pytest.raises(ValueError, match="between 0 and 1"):
        Probability.parse(value)


@given(st.binary(min_size=20, max_size=20))
def test_one_address_has_one_form_whatever_the_case(data):
    lower, upper = Address("0x" + data.hex()), Address("0x" + data.hex().upper())
    assert lower == upper
    assert upper.to_bytes() == data


@pytest.mark.parametrize("text", ["", "0x", "0x" + "g" * 40, "0x" + "0" * 39, "0x" + "0" * 41, "0" * 42, None, 5])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="expected an address"):
        Address(text)


def test_a_wrong_address_given_by_a_user_is_named():
    with pytest.raises(InvalidData, match="ADDRESS: expected an address") as refusal:
        parse_address("vitalik", what="ADDRESS")
    assert refusal.value.code == "invalid_address"


def test_a_refusal_never_repeats_more_than_a_line_of_the_input():
    with pytest.raises(InvalidData) as refusal:
        parse_address("x" * 100_000, what="ADDRESS")
    assert len(str(refusal.value)) < 200


def test_a_valid_address_of_a_user_is_normalised():
    assert parse_address("0x" + "AB" * 20, what="ADDRESS") == "0x" + "ab" * 20
    assert ZERO_ADDRESS.to_bytes() == bytes(20)


@given(st.binary(min_size=32, max_size=32))
def test_a_hash_is_the_same_from_bytes_and_from_text(data):
    assert Hash32(data) == Hash32("0x" + data.hex().upper().replace("X", "x"))
    assert Hash32(data).to_bytes() == data


@pytest.mark.parametrize("value", [b"", b"x" * 31, "0x" + "0" * 63, "0" * 66, "0x" + "z" * 64])
def test_what_is_no_hash_is_refused(value):
    with pytest.raises(ValueError, match="expected 32 bytes"):
        Hash32(value)
