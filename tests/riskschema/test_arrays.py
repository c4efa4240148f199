"""Risk arrays travel as JSON that anyone can read, and lose nothing on the way."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskschema import arrays
from riskschema.codec import decode_json, encode_json

KINDS = [arrays.RowTable, arrays.FactorTerms, arrays.RiskArrays]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25)
@given(data=st.data())
def test_arrays_survive_json_to_the_last_bit(kind, values_of, data):
    value = data.draw(values_of(kind))
    assert decode_json(encode_json(value), kind, what="arrays") == value
