"""Between numpy arrays and the schema's typed columns, without copying on the way out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from riskschema.buffers import Column, DType


def column(values: NDArray[Any], dtype: DType) -> Column:
    """Return an array as a little-endian, C-ordered column."""
    little = np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))
    return Column(dtype=dtype, shape=tuple(little.shape), data=little.tobytes())


def view8(stored: Column) -> NDArray[np.int8]:
    """Return an int8 column as a read-only array."""
    return np.frombuffer(stored.data, dtype="<i1").reshape(stored.shape)


def view32(stored: Column) -> NDArray[np.int32]:
    """Return an int32 column as a read-only array."""
    return np.frombuffer(stored.data, dtype="<i4").reshape(stored.shape)


def view64(stored: Column) -> NDArray[np.int64]:
    """Return an int64 column as a read-only array."""
    return np.frombuffer(stored.data, dtype="<i8").reshape(stored.shape)
