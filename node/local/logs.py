"""What the nodes of a local committee write to their logs, one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Sequence

from node.local.operators import LocalOperator
from node.local.processes import LOG
from riskschema.rounds import RoundStep


def step_seconds(operators: Sequence[LocalOperator], round_number: int) -> dict[RoundStep, float]:
    """Return how long each step of a round took the first operator that tells; nothing while none does."""
    for operator in operators:
        for line in reversed((operator.directory / LOG).read_text(errors="replace").splitlines()):
            if '"round certified"' not in line or not line.endswith("}"):  # the last line may be half written
                continue
            record = json.loads(line)
            if record.get("event") == "round certified" and record.get("round") == round_number:
                return {RoundStep(step): seconds for step, seconds in record["seconds"].items()}
    return {}
