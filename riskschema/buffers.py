"""Typed columnar buffers: how arrays and tables travel between stages without any array library."""

from __future__ import annotations

from math import prod
from typing import Literal

import msgspec

DType = Literal["int8", "int16", "int32", "int64", "uint64"]
ITEM_BYTES: dict[DType, int] = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "uint64": 8}


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Little-endian, C-ordered integers; in JSON the bytes are base64."""

    dtype: DType
    shape: tuple[int, ...]
    data: bytes

    def __post_init__(self) -> None:
        """Refuse bytes that do not fill the shape."""
        if any(side < 0 for side in self.shape):
            raise ValueError(f"negative side in shape {self.shape}")
        wanted = prod(self.shape) * ITEM_BYTES[self.dtype]
        if len(self.data) != wanted:
            raise ValueError(f"{self.dtype} of shape {self.shape} needs {wanted} bytes, got {len(self.data)}")
