"""How a round ended for this node."""

from __future__ import annotations

import msgspec

from attest.formats.certificate import Certificate
from node.publishing.transmitter import Landing
from riskschema.errors import PlimsollError
from riskschema.ports import PublishedTransaction
from riskschema.rounds import RoundStep


class RoundResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished round did."""

    round: int
    certificate: Certificate
    accounts: int
    pins: tuple[tuple[int, int], ...]
    """(chain id, block number)."""
    seconds: dict[RoundStep, float] = {}
    """How long each step took this node."""
    landing: Landing
    """How publishing ended; None: under way still, or not this node's business."""

    @property
    def transaction(self) -> PublishedTransaction | None:
        """The transaction of this node, where it landed while the round waited for it."""
        return self.landing if isinstance(self.landing, PublishedTransaction) else None


RoundEnd = RoundResult | PlimsollError
