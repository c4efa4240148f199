"""How kernels are compiled: exact IEEE arithmetic, no contraction, no reordering, cached on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from numba import njit

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile a kernel; its plain-Python twin stays reachable as ``py_func`` and agrees bit for bit.

    ``fastmath`` stays off, so LLVM neither reassociates nor contracts a·b + c into a fused operation. Division follows
    IEEE 754 (no exception on zero), which is what lets loops use vector instructions.
    """
    return cast("Callable[Arguments, Result]", njit(cache=True, fastmath=False, error_model="numpy")(function))
