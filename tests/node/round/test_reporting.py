"""Before a report is made: far fewer accounts than in the parent stop it, unless a chain came or went meanwhile."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from attest.agreement.outcome import pins_root
from attest.formats.header import encode_header
from node.index.choosing import Chosen
from node.round.reporting import _refuse_shrunken
from riskschema.errors import TransientError
from riskschema.portfolio import BlockReference
from riskschema.rounds import StoredReport
from riskschema.units import Address, Hash32
from storage.store import open_store
from tests.builders.reports import header

DIGEST = Hash32(bytes(32))


def pin(chain_id: int, number: int) -> BlockReference:
    return BlockReference(chain_id=chain_id, number=number, hash=Hash32(number.to_bytes(32, "big")), timestamp=number)


@pytest.mark.parametrize(
    ("before", "now", "refused"),
    [((1, 2), (1, 2), True), ((1,), (1,), True), ((1, 2), (1,), False), ((1,), (1, 2), False), ((1,), (2,), False)],
)
async def test_few_accounts_are_refused_only_where_the_same_chains_were_pinned(
    tmp_path: Path, before: tuple[int, ...], now: tuple[int, ...], refused: bool
) -> None:
    last_pins = [pin(chain_id, 7 if chain_id in before else 3) for chain_id in (1, 2)]  # 3: of an earlier round
    pinned = [each for each in last_pins if each.chain_id in before]
    parent = header(round=9, account_count=120, pins_root=pins_root(pinned))
    stored = StoredReport(
        config_digest=DIGEST, round=9, report_hash=DIGEST, header=encode_header(parent), state=b"", certificate=None
    )
    rules = SimpleNamespace(parameters=SimpleNamespace(max_shrink_ppm=500_000))
    outcome: Any = SimpleNamespace(
        parent=SimpleNamespace(round=9, report_hash=bytes(32)),
        on_demand=(),
        pins=[pin(chain_id, 8) for chain_id in now],
    )
    state: Any = SimpleNamespace(pins=last_pins, on_demand=())
    chosen = Chosen(accounts=tuple(Address(f"0x{number:040x}") for number in range(20)))
    async with open_store(tmp_path / "node.db") as store:
        await store.put_report(stored, (), b"")
        node: Any = SimpleNamespace(store=store, config_digest=DIGEST, rules=rules)
        if refused:
            with pytest.raises(TransientError, match="20 accounts are found, 120 were in round 9"):
                await _refuse_shrunken(node, outcome, state, chosen)
        else:
            await _refuse_shrunken(node, outcome, state, chosen)
