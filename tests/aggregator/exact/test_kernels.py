"""The exact kernels: accurate, equal to their plain twins, and free of fused operations."""

from __future__ import annotations

import math
import re

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from aggregator.exact import kernels, sums


def ulps(found: float, wanted: float) -> float:
    return abs(found - wanted) / math.ulp(wanted)


@given(st.floats(-700, 700))
def test_exp_is_within_one_ulp(x: float) -> None:
    assert ulps(kernels.exp(x), math.exp(x)) <= 1


@given(st.floats(1e-300, 1e300))
def test_log_is_within_one_ulp(x: float) -> None:
    assert ulps(kernels.log(x), math.log(x)) <= 1


@given(st.floats(1e-3, 1e3), st.floats(-20, 20))
def test_power_is_within_its_stated_error(x: float, y: float) -> None:
    wanted = math.pow(x, y)
    assert abs(kernels.power(x, y) / wanted - 1) <= (1 + abs(y * math.log(x))) * 2**-52


@given(st.floats(1e-12, 1e12))
def test_log10_is_close_to_the_exact_one(x: float) -> None:
    assert kernels.log10(x) == pytest.approx(math.log10(x), rel=1e-15, abs=1e-16)


@given(st.floats(-40, 40))
def test_the_normal_distribution_is_within_1e_15(x: float) -> None:
    assert abs(kernels.normal_cdf(x) - float(ndtr(x))) <= 1e-15


@given(st.floats(-45, 45))
def test_the_normal_distribution_is_monotone_around_any_point(x: float) -> None:
    assert kernels.normal_cdf(x) <= kernels.normal_cdf(x + 1e-6) + 1e-15


def test_edges_are_those_of_ieee() -> None:
    assert kernels.exp(710.0) == math.inf
    assert kernels.exp(-746.0) == 0.0
    assert kernels.exp(-740.0) == pytest.approx(math.exp(-740.0), abs=1e-323)
    assert math.isnan(kernels.exp(math.nan))
    assert kernels.log(0.0) == -math.inf
    assert kernels.log(math.inf) == math.inf
    assert math.isnan(kernels.log(-1.0))
    assert math.isnan(kernels.log(math.nan))


@given(st.floats(-45, 45), st.floats(1e-9, 1e9))
def test_every_kernel_equals_its_plain_twin_bit_for_bit(x: float, positive: float) -> None:
    assert kernels.exp(x) == kernels.exp.py_func(x)
    assert kernels.log(positive) == kernels.log.py_func(positive)
    assert kernels.power(positive, x / 10) == kernels.power.py_func(positive, x / 10)
    assert kernels.log10(positive) == kernels.log10.py_func(positive)
    assert kernels.normal_cdf(x) == kernels.normal_cdf.py_func(x)


@pytest.mark.parametrize("x", [math.nan, 710.0, -746.0])
def test_the_twin_of_exp_has_the_same_edges(x: float) -> None:
    np.testing.assert_equal(kernels.exp.py_func(x), kernels.exp(x))


@pytest.mark.parametrize("x", [math.nan, -1.0, 0.0, math.inf])
def test_the_twin_of_log_has_the_same_edges(x: float) -> None:
    np.testing.assert_equal(kernels.log.py_func(x), kernels.log(x))


def test_loops_equal_their_twins() -> None:
    values = np.linspace(-3, 3, 50)
    found, twin = np.empty((2, 50)), np.empty((2, 50))
    kernels.exp_each(values, 0.5, found[0])
    kernels.exp_each.py_func(values, 0.5, twin[0])
    kernels.log_each(values + 4, found[1])
    kernels.log_each.py_func(values + 4, twin[1])
    assert found.tobytes() == twin.tobytes()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_black_76_equals_its_twin_also_at_expiry(sign: float) -> None:
    forward, deviation = np.array([90.0, 100.0, 110.0, 110.0, 90.0]), np.array([0.1, 0.2, 0.3, 0.0, 0.0])
    found, twin = np.empty((2, 5)), np.empty((2, 5))
    kernels.black76_each(forward, 100.0, deviation, sign, found)
    kernels.black76_each.py_func(forward, 100.0, deviation, sign, twin)
    assert found.tobytes() == twin.tobytes()
    assert found[0, 3:].tolist() == [max(sign * 10, 0), max(sign * -10, 0)]


def test_no_kernel_is_compiled_to_fused_or_vendor_instructions() -> None:
    fresh = numba.njit(cache=False, fastmath=False, error_model="numpy")
    for kernel, arguments in (
        (kernels.exp, (1.0,)),
        (kernels.log, (2.0,)),
        (kernels.normal_cdf, (0.5,)),
        (sums.product, (5, 7)),
    ):
        compiled = fresh(kernel.py_func)
        compiled(*arguments)
        assembly = "".join(compiled.inspect_asm().values())
        assert len(assembly) > 100
        assert not re.search(r"vfn?m(add|sub)|fmla|__svml", assembly)
