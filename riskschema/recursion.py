"""Keep Python's recursion limit: it is what turns deeply nested input into an error instead of a crash."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def recursion_limit_kept() -> Iterator[None]:
    """Put the recursion limit back after an import that raises it.

    (py_ecc, which web3 and eth_account import, raises it to 100,000. Decoders written in C trust the limit: with that
    one a document of nested brackets overflows the stack and kills the process.)
    """
    limit = sys.getrecursionlimit()
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
