"""How kernels are compiled: exact IEEE arithmetic, no contraction, no reordering, cached on disk and never stale."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar, cast

from numba import __version__ as numba_version
from numba import config, njit
from numba.core.dispatcher import Dispatcher

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

_COMPLETE = f"complete-{sys.implementation.cache_tag}-numba-{numba_version}"
_kernels: list[Dispatcher] = []


def lacks_kernels() -> bool:
    """Return whether compiling every kernel now spares others from it: the cache can be written and is not full."""
    return _CACHE is not None and not (_CACHE / _COMPLETE).exists()


def note_complete() -> None:
    """Note in the cache that it holds every kernel, for this interpreter and compiler."""
    if _CACHE is not None and _kernels:
        (_CACHE / _COMPLETE).touch()


def progress() -> tuple[int, int]:
    """Return how many kernels this process has compiled, and how many there are in the modules it has imported."""
    return sum(bool(kernel.overloads) for kernel in _kernels), len(_kernels)


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
    kernel = njit(cache=_CACHE is not None, fastmath=False, error_model="numpy")(function)
    if isinstance(kernel, Dispatcher):  # with NUMBA_DISABLE_JIT it is the function
        _kernels.append(kernel)
    return cast("Kernel[Arguments, Result_co]", kernel)
