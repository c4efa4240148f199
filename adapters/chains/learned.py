"""What an endpoint was found to take, and what of its day is spent: what a restart must not forget."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

UNLIMITED = 10**9
"""More than any limit in the settings."""

Many = Annotated[int, Meta(ge=1, le=UNLIMITED)]
UnixSeconds = Annotated[float, Meta(ge=0, le=2**40)]


class Learned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits below those of the settings, and the calls of the running day."""

    log_range: Many = UNLIMITED
    """Blocks per log query."""
    batch_size: Many = UNLIMITED
    """Requests per batch."""
    batched: bool = True
    """False: it knows no batches."""
    limited_until: UnixSeconds = 0.0
    """It asked not to be asked before."""
    day_began: UnixSeconds = 0.0
    calls: Annotated[int, Meta(ge=0, le=2**53)] = 0
    """Requests since then."""
