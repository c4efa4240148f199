"""Units: lots within their bounds, and no scale written as a number anywhere else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aggregator
from aggregator.exact import units

PACKAGE = Path(aggregator.__file__).parent
BIT_TRICKS = {"units.py", "kernels.py", "reference_blocks.py"}
"""The units themselves, floats taken apart, and a generator of words."""


@given(st.floats(1e-30, 1e12))
def test_a_lot_is_worth_between_2_to_the_minus_27_and_2_to_the_minus_26(reference: float) -> None:
    assert 2.0**-27 <= reference * 2.0 ** units.lot_exponent(reference) < 2.0**-26


def test_a_worthless_row_has_whole_lots() -> None:
    assert units.lot_exponent(0.0) == 0


@given(st.integers(-(10**60), 10**60), st.integers(-60, 30), st.integers(-20, 30), st.integers(1, 10**18))
def test_lots_are_rounded_down_or_up_by_less_than_one(quantity: int, exponent: int, coarse: int, denominator: int):
    sizes = units.LotExponent(exponent), units.Coarseness(coarse)
    down = units.to_lots(quantity, *sizes, denominator=denominator)
    up = units.to_lots(quantity, *sizes, denominator=denominator, up=True)
    scale = (quantity << 80, denominator << (exponent + coarse + 80))
    assert down * scale[1] <= scale[0] < (down + 1) * scale[1]
    assert (up - 1) * scale[1] < scale[0] <= up * scale[1]


@given(st.lists(st.floats(0, 1e60), min_size=1, max_size=50))
def test_coarse_lots_keep_the_sum_in_bounds(sizes: list[float]) -> None:
    coarse = units.coarseness(sizes)
    assert sum(sizes) <= 2.0 ** (44 + coarse) * (1 + 1e-12)
    assert coarse == -20 or sum(sizes) >= 2.0 ** (44 + coarse - 1) * (1 - 1e-12)


def test_an_account_of_the_largest_size_fits_sums_of_two_limbs() -> None:
    high_limb = 2 ** (units.ACCOUNT_LOTS_BITS - units.LIMB_BITS)
    assert high_limb * units.MANTISSA_LIMIT < 2**63
    low_sum = units.POSITIONS_PER_FOLD * units.LOW_LIMB * units.MANTISSA_LIMIT
    assert low_sum + 2**units.LIMB_BITS < 2**63


@pytest.mark.parametrize("source", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_no_other_module_shifts_by_a_number(source: Path) -> None:
    if source.name in BIT_TRICKS:
        return
    nodes = ast.walk(ast.parse(source.read_text()))
    found = [node.lineno for node in nodes if isinstance(node, ast.expr | ast.stmt) and _shift_by_number(node)]
    assert found == []


def _shift_by_number(node: ast.AST) -> bool:
    """Tell whether a node shifts, raises two, or multiplies by a power of two, by a number other than a name."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.LShift | ast.RShift):
        return isinstance(node.right, ast.Constant) and node.right.value not in (0, 1)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return isinstance(node.left, ast.Constant) and node.left.value == 2
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "ldexp":
        return any(isinstance(inner, ast.Constant) for inner in ast.walk(node.args[1]))
    return isinstance(node, ast.Constant) and node.value in (29, 53)
