"""Print what numpy, OpenBLAS, libm and numba do on this machine: bits that depend on the CPU. Run by `test_exactness`.

None of it is used by the engine: where a variant of the environment changes these bits, it took effect.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
import math
from pathlib import Path

import numba
import numpy as np

COUNT = 20_000


def digest(values: np.ndarray) -> str:
    """Return a short hash of an array's bits."""
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]


def numpy_bits() -> str:
    """Return the bits of numpy's own functions, which it dispatches by CPU."""
    points = np.linspace(0.001, 30.0, COUNT)
    narrow = points.astype(np.float32)
    results = [np.exp(points), np.log(points), np.sin(points)]
    results += [result.astype(np.float64) for result in (np.exp(narrow), np.log(narrow))]
    return digest(np.concatenate(results))


def libm_bits() -> str:
    """Return the bits of the C library's functions, of which it has versions with and without fused operations."""
    points = [0.0007 * index + 0.001 for index in range(COUNT)]
    functions = (math.exp, math.log, math.sin, math.cos, math.tan, math.atan)
    return digest(np.array([function(point) for function in functions for point in points]))


@numba.njit(fastmath=True)
def _reordered(values: np.ndarray) -> float:
    total = 0.0
    for value in values:
        total += value * value
    return total


def numba_bits() -> str:
    """Return the bits of a sum that may be reordered: they follow the vectors of the CPU it is compiled for."""
    values = np.random.default_rng(1).normal(size=(50, 1001))
    return digest(np.array([_reordered(line) for line in values]))


def openblas_bits() -> str:
    """Return the bits of two matrix products: their order of sums follows the core and the number of threads."""
    matrix = np.random.default_rng(2).normal(size=(150, 150))
    narrow = matrix.astype(np.float32)
    return digest(np.concatenate([matrix @ matrix, narrow @ narrow]))


def openblas() -> ctypes.CDLL | None:
    """Return numpy's OpenBLAS, or None where numpy has another library."""
    found = sorted((Path(np.__file__).parent.parent / "numpy.libs").glob("*openblas*"))
    return ctypes.CDLL(str(found[0])) if found else None


def openblas_says() -> tuple[str, int]:
    """Return the core whose kernels OpenBLAS uses, and its threads."""
    library = openblas()
    if library is None:
        return "", 0
    name = library.scipy_openblas_get_corename64_
    name.restype = ctypes.c_char_p
    return name().decode(), library.scipy_openblas_get_num_threads64_()


def main() -> None:
    """Print everything as JSON."""
    core, threads = openblas_says()
    umath = importlib.import_module("numpy._core._multiarray_umath")
    features = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]
    print(
        json.dumps(
            {
                "numpy": numpy_bits(),
                "numpy_features": features,
                "openblas": openblas_bits(),
                "openblas_core": core,
                "libm": libm_bits(),
                "numba": numba_bits(),
                "threads": [threads, numba.get_num_threads()],
            }
        )
    )


if __name__ == "__main__":
    main()
