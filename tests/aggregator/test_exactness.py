"""The same bytes whatever the CPU offers, the number of threads, and the libraries' own choices."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import HANG_SECONDS

SCRIPT = Path(__file__).with_name("digest.py")
ROOT = SCRIPT.parents[2]

VARIANTS = {
    "numpy without vector instructions": {
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
    },
    "OpenBLAS as on Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "OpenBLAS as on Nehalem, one thread": {"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"},
    "libm without FMA and AVX2": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-AVX2,-AVX2_Usable,-FMA_Usable"},
    "kernels for a generic CPU": {"NUMBA_CPU_NAME": "generic"},
    "two threads": {"NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
}
UNSET = {name for changes in VARIANTS.values() for name in changes}


def digest(changes: dict[str, str]) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in UNSET and "COV" not in name}
    # numpy warns of features it does not have or cannot switch off on this CPU: that is what is being tried
    command = [sys.executable, "-W", "ignore", str(SCRIPT)]
    run = subprocess.run(
        command,
        env=environment | changes | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.fixture(scope="module")
def plain() -> str:
    return digest({})


def test_two_processes_agree(plain: str) -> None:
    assert digest({}) == plain


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_bytes_do_not_depend_on_the_machine(plain: str, variant: str) -> None:
    assert digest(VARIANTS[variant]) == plain


def test_no_source_calls_a_library_function_whose_bits_differ_between_machines() -> None:
    inexact = {"exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "pow", "power", "dot", "matmul", "mean", "std"}
    found = [
        f"{source.name}: {node.value.id}.{node.attr}"
        for source in (ROOT / "aggregator").rglob("*.py")
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("np", "math")
        and node.attr in inexact
    ]
    assert found == []
