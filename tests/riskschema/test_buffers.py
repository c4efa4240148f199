"""Columns hold exactly the bytes their shape asks for."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskschema.buffers import ITEM_BYTES, Column
from riskschema.codec import decode_json
from riskschema.errors import InvalidData


@given(st.sampled_from(sorted(ITEM_BYTES)), st.lists(st.integers(0, 5), max_size=3), st.integers(-9, 9))
def test_a_column_takes_the_bytes_of_its_shape_and_no_others(dtype, sides, surplus):
    wanted = prod(sides) * ITEM_BYTES[dtype]
    data = bytes(max(wanted + surplus, 0))
    if len(data) == wanted:
        assert Column(dtype=dtype, shape=tuple(sides), data=data).data == data
    else:
        with pytest.raises(ValueError, match=f"needs {wanted} bytes, got {len(data)}"):
            Column(dtype=dtype, shape=tuple(sides), data=data)


def test_two_negative_sides_do_not_make_a_positive_size():
    with pytest.raises(ValueError, match="negative side"):
        Column(dtype="int8", shape=(-1, -2), data=b"ab")


@pytest.mark.parametrize(
    "document",
    [
        b'{"dtype":"float64","shape":[1],"data":"AAAAAAAAAAA="}',
        b'{"dtype":"int8","shape":[2],"data":"AA=="}',
        b'{"dtype":"int8","shape":[1],"data":"*"}',
        b'{"dtype":"int8","shape":[1.5],"data":"AA=="}',
    ],
    ids=["floats", "too few bytes", "not base64", "fractional side"],
)
def test_a_document_with_a_wrong_column_is_refused(document):
    with pytest.raises(InvalidData, match="column"):
        decode_json(document, Column, what="column")
