"""A process that holds keys leaves no image of its memory: no core dump, and no debugger of the same user."""

from __future__ import annotations

import ctypes
import os
import resource
import sys

PR_SET_DUMPABLE = 4
"""Of ``prctl(2)``."""


def forbid_dumps() -> None:
    """Forbid core dumps of this process for good; on Linux also tracing and ``/proc`` for all but root.

    Raises:
        OSError: the system refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        library = ctypes.CDLL(None, use_errno=True)
        if library.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
