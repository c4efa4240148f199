"""How kernels are compiled: exact IEEE arithmetic, no contraction, no reordering, cached on disk and never stale."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar, cast

from numba import config, njit

Arguments = ParamSpec("Arguments")
Result_co = TypeVar("Result_co", covariant=True)

PACKAGE = Path(__file__).parents[1]


def source_digest(package: Path) -> str:
    """Return a hash of all sources with kernels, in whatever folder of the package.

    numba notices a change of the file of a kernel, but not of the files of the kernels it calls: after an upgrade a
    node would go on computing with a mixture. A cache directory named by this hash cannot be stale.
    """
    digest = hashlib.sha256()
    for source in sorted(package.rglob("*.py")):
        text = source.read_bytes()
        if b"compiled" in text:
            digest.update(source.relative_to(package).as_posix().encode() + b"\x00" + text)
    return digest.hexdigest()[:16]


def cache_directory(candidates: list[Path], digest: str) -> Path | None:
    """Return the first directory that can be written, named by the sources; None where there is none."""
    for candidate in candidates:
        chosen = candidate / f"plimsoll-kernels-{digest}"
        try:
            chosen.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(chosen, os.W_OK):
            return chosen
    return None


def _candidates() -> list[Path]:
    stated = os.environ.get("NUMBA_CACHE_DIR")
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return [Path(stated)] if stated else [PACKAGE / "__pycache__", Path(home).expanduser()]


_CACHE = cache_directory(_candidates(), source_digest(PACKAGE))
if _CACHE is not None:
    config.CACHE_DIR = str(_CACHE)  # type: ignore[attr-defined]  # made at run time from the environment


class Kernel(Protocol[Arguments, Result_co]):
    """A compiled function and the plain Python that it was made of."""

    @property
    def py_func(self) -> Callable[Arguments, Result_co]:
        """The plain twin."""

    def __call__(self, *arguments: Arguments.args, **named: Arguments.kwargs) -> Result_co:
        """Run the compiled function."""


def compiled(function: Callable[Arguments, Result_co]) -> Kernel[Arguments, Result_co]:
    """Compile a kernel; its plain-Python twin stays reachable as ``py_func`` and agrees bit for bit.

    ``fastmath`` stays off, so LLVM neither reassociates nor contracts a·b + c into a fused operation. Division follows
    IEEE 754 (no exception on zero), which is what lets loops use vector instructions. Where nothing can be written the
    kernels are compiled anew in every process.
    """
    jit = njit(cache=_CACHE is not None, fastmath=False, error_model="numpy")
    return cast("Kernel[Arguments, Result_co]", jit(function))
