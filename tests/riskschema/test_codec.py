"""Schema values to JSON and back; every refusal names the field."""

import json
from enum import StrEnum

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskschema.assessment import Assessment
from riskschema.buffers import Column
from riskschema.codec import (
    MAX_DOCUMENT_BYTES,
    decode_json,
    encode_json,
    from_builtins,
    json_schema,
    json_schema_components,
)
from riskschema.errors import InvalidData
from riskschema.market import FactorQuote, MarketState
from riskschema.portfolio import Portfolio
from riskschema.units import Address, Usd, Wad

SUBJECT = "0x" + "ab" * 20
DEBT = {
    "kind": "debt",
    "token": {
        "kind": "token",
        "chain_id": 1,
        "address": "0x" + "01" * 20,
        "symbol": "USDC",
        "decimals": 6,
        "factor": "USDC",
    },
    "venue": "aave_v3:1:main",
    "market": "core",
    "annual_rate": "0.05",
}
SILO = {
    "id": "aave_v3:1:core",
    "venue": "aave_v3:1:main",
    "chain_id": 1,
    "market": "core",
    "account": SUBJECT,
    "health": None,
    "rule": {"kind": "none"},
    "positions": [{"instrument": DEBT, "quantity": "-1000000"}],
}


def document(**silo: object) -> bytes:
    return json.dumps({"subject": SUBJECT, "silos": [SILO | silo]}).encode()


def refusal(content: bytes, kind: type = Portfolio) -> InvalidData:
    with pytest.raises(InvalidData) as caught:
        decode_json(content, kind, what="portfolio.json")
    return caught.value


@pytest.mark.parametrize("kind", [Portfolio, MarketState, Assessment])
@settings(max_examples=50)
@given(data=st.data())
def test_any_value_survives_json_unchanged(kind, values_of, data):
    value = data.draw(values_of(kind))
    assert decode_json(encode_json(value), kind, what="round trip") == value


@settings(max_examples=25)
@given(data=st.data())
def test_the_json_says_the_same_through_any_json_library(values_of, data):
    value = data.draw(values_of(Portfolio))
    through_another = json.dumps(json.loads(encode_json(value))).encode()
    assert decode_json(through_another, Portfolio, what="json") == value
    assert from_builtins(json.loads(encode_json(value)), Portfolio, what="builtins") == value


def test_a_document_of_a_user_is_read():
    portfolio = decode_json(document(health="1.25"), Portfolio, what="portfolio.json")
    assert portfolio.subject == Address(SUBJECT)
    assert portfolio.silos[0].health == Wad(125 * 10**16)
    assert portfolio.silos[0].positions[0].quantity == -1_000_000


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"venue": 5}, "$.silos[0].venue"),
        ({"account": "me"}, "$.silos[0].account"),
        ({"health": "NaN"}, "$.silos[0].health"),
        ({"health": 1.5}, "$.silos[0].health"),
        ({"colour": "red"}, "colour"),
        ({"rule": {"kind": "magic"}}, "$.silos[0].rule"),
        ({"positions": [{"instrument": DEBT}]}, "quantity"),
        ({"positions": [{"instrument": DEBT, "quantity": "1.5"}]}, "$.silos[0].positions[0].quantity"),
        (
            {"positions": [{"instrument": DEBT | {"annual_rate": "-x"}, "quantity": "1"}]},
            "$.silos[0].positions[0].instrument.annual_rate",
        ),
    ],
)
def test_a_wrong_missing_or_unknown_field_is_named_with_the_file(change, path):
    error = refusal(document(**change))
    assert path in error.message
    assert error.message.startswith("portfolio.json: ")
    assert error.code == "invalid_document"


def test_a_missing_field_is_named():
    silo = {name: value for name, value in SILO.items() if name != "venue"}
    error = refusal(json.dumps({"subject": SUBJECT, "silos": [silo]}).encode())
    assert "venue" in error.message


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_does_not_have_is_named_by_its_path(number):
    content = document().replace(b'"health": null', f'"health": {number}'.encode())
    assert "`$.silos[0].health`" in refusal(content).message


def test_a_number_that_json_does_not_have_is_found_inside_lists():
    content = document().replace(b'"positions": [', b'"positions": [NaN, ')
    assert "`$.silos[0].positions[0]`" in refusal(content).message


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"subject": nan}', b'{"a": 01}'],
    ids=["empty", "open", "not utf-8", "deep", "lower-case nan", "leading zero"],
)
def test_what_is_no_json_is_refused(content):
    assert refusal(content).code == "invalid_document"


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_never_crash(content):
    refusal(content)


def test_a_document_beyond_the_limit_is_refused_before_it_is_parsed():
    error = refusal(b" " * (MAX_DOCUMENT_BYTES + 1))
    assert error.code == "document_too_large"


@pytest.mark.parametrize("price", ["0", "-1"])
def test_a_price_that_no_market_has_is_refused(price):
    error = refusal(json.dumps({"as_of": 0, "quotes": [{"factor": "ETH", "price": price}]}).encode(), MarketState)
    assert "price of ETH must be positive" in error.message
    assert "$.quotes[0]" in error.message


def test_builtins_of_a_wrong_form_are_refused_with_the_path():
    with pytest.raises(InvalidData, match=r"node\.toml: .*\$\.price"):
        from_builtins({"factor": "ETH", "price": "much"}, FactorQuote, what="node.toml")


def test_bytes_travel_as_base64():
    column = Column(dtype="int8", shape=(3,), data=b"\x00\x01\xff")
    assert json.loads(encode_json(column))["data"] == "AAH/"


def test_a_type_without_a_json_form_is_a_bug_and_not_a_silent_text():
    class Opaque:
        pass

    class Holder(msgspec.Struct):
        inner: Opaque

    with pytest.raises(NotImplementedError, match="Opaque"):
        encode_json(Holder(inner=Opaque()))
    with pytest.raises(NotImplementedError, match="Opaque"):
        decode_json(b'{"inner": 1}', Holder, what="holder")
    with pytest.raises(TypeError, match="Opaque"):
        json_schema(Holder)


def test_an_enumeration_is_written_as_its_value():
    class Colour(StrEnum):
        RED = "red"

    assert encode_json({"colour": Colour.RED, "cost": Usd(1)}) == b'{"colour":"red","cost":"0.00000001"}'


def test_schemas_of_several_types_share_their_definitions():
    schemas, components = json_schema_components([Portfolio, Assessment], "#/components/schemas/{name}")
    assert [schema["$ref"] for schema in schemas] == [
        "#/components/schemas/Portfolio",
        "#/components/schemas/Assessment",
    ]
    assert {"Silo", "Unread", "BlockReference", "SiloAssessment"} <= components.keys()
