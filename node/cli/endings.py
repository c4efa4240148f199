"""How a command ends: its exit status, and the last line of a log."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from riskschema.errors import PlimsollError, TransientError

MAY_PASS = 75
"""EX_TEMPFAIL of sysexits.h: an endpoint, a full disk, the clock; the same command may succeed later."""
FOR_A_PERSON = 78
"""EX_CONFIG: settings, keys, files or documents must be changed first."""
INTERRUPTED = 130
"""128 + SIGINT, as a shell reports it."""


@contextmanager
def ending_in_log(as_json: bool) -> Iterator[None]:
    """Let the last line of a command that writes a log be one of the log where that is JSON."""
    try:
        yield
    except (PlimsollError, KeyboardInterrupt) as error:
        if not as_json:
            raise
        from node.telemetry import log_end  # noqa: PLC0415

        log_end(error)
        sys.exit(status_of(error) if isinstance(error, PlimsollError) else INTERRUPTED)


def log_is_json(as_json: bool) -> bool:
    """Whether a log goes out as JSON: asked for, or nobody watches."""
    return as_json or not sys.stderr.isatty()


def status_of(error: PlimsollError) -> int:
    """Return the exit status that an expected failure ends with."""
    return MAY_PASS if isinstance(error, TransientError) else FOR_A_PERSON
