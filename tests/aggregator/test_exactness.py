"""The same bytes whatever the CPU offers, the number of threads, and the libraries' own choices."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from riskschema.codec import encode_json
from tests.patience import HANG_SECONDS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

PLAIN = {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
VARIANTS = {
    "numpy without vector instructions": {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"},
    "OpenBLAS as on Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "OpenBLAS as on Nehalem": {"OPENBLAS_CORETYPE": "Nehalem"},
    "libm without FMA and AVX2": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-AVX2,-AVX2_Usable,-FMA_Usable"},
    "kernels for a generic CPU": {"NUMBA_CPU_NAME": "generic"},
    "two threads": {"NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
}
CHANGED = {
    "numpy without vector instructions": "numpy",
    "OpenBLAS as on Haswell": "openblas",
    "OpenBLAS as on Nehalem": "openblas",
    "libm without FMA and AVX2": "libm",
    "kernels for a generic CPU": "numba",
    "two threads": "threads",
}
"""What the canary must say otherwise under a variant."""
UNSET = {name for changes in VARIANTS.values() for name in changes}


def run(script: str, changes: dict[str, str], *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in UNSET and "COV" not in name}
    # numpy warns of features that this CPU does not have; the canary tells whether the others were switched off
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / script), *arguments],
        env=environment | PLAIN | changes | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def markets(lab, tmp_path_factory) -> list[str]:
    """Return files with the markets of all variants, made once."""
    folder = tmp_path_factory.mktemp("markets")
    history = lab.history(["BTC", "ETH", "LINK", "USDC"], 24 * 400)
    paths = [folder / "without_history.json", folder / "with_history.json"]
    for path, past in zip(paths, (None, history), strict=True):
        path.write_bytes(encode_json(lab.market(past, USDC="0.985", DAI="0.97")))  # pegs move otherwise off parity
    return [str(path) for path in paths]


@pytest.fixture(scope="module")
def plain_digest(markets) -> str:
    return run("digest.py", {}, *markets)


@cache
def plain_canary() -> dict[str, Any]:
    return dict(json.loads(run("canary.py", {})))


def lacking(variant: str) -> str:
    """Say what this machine lacks for a variant to differ; empty where it has everything."""
    machine = plain_canary()
    if variant == "two threads":
        return "" if (os.cpu_count() or 1) > 1 else "a second core"
    if variant.startswith("OpenBLAS"):
        wanted = VARIANTS[variant]["OPENBLAS_CORETYPE"]
        alike = {"Haswell": ("Haswell", "Zen"), "Nehalem": ("Nehalem",)}[wanted]
        return "an OpenBLAS kernel newer than that" if machine["openblas_core"] in ("", *alike) else ""
    return "" if "X86_V3" in machine["numpy_features"] else "AVX2 and FMA"


def test_two_processes_agree(markets, plain_digest) -> None:
    assert run("digest.py", {}, *markets) == plain_digest


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_bytes_do_not_depend_on_the_machine(markets, plain_digest, variant: str) -> None:
    assert run("digest.py", VARIANTS[variant], *markets) == plain_digest


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_changes_what_it_is_about_and_nothing_is_tried_in_vain(variant: str) -> None:
    if missing := lacking(variant):
        pytest.skip(f"this machine lacks {missing}")
    found = json.loads(run("canary.py", VARIANTS[variant]))
    assert found[CHANGED[variant]] != plain_canary()[CHANGED[variant]]


def test_the_names_of_numpys_dispatch_groups_are_all_switched_off() -> None:
    named = set(VARIANTS["numpy without vector instructions"]["NPY_DISABLE_CPU_FEATURES"].split())
    assert set(plain_canary()["numpy_features"]) <= named
    assert json.loads(run("canary.py", VARIANTS["numpy without vector instructions"]))["numpy_features"] == []


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
