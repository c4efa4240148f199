"""`plimsoll doctor` about the indexes: behind, never found complete, unreadable; and what endpoints must still have."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from node.commands.doctor import indexes
from node.commands.doctor.findings import Finding, State
from node.commands.doctor.indexes import first_needed, indexes_findings, read_indexes
from node.commands.doctor.operator import Operator, read_operator
from node.index.opening import index_path
from node.round.reading import indexed_venues
from riskschema.portfolio import BlockReference
from riskschema.units import Hash32
from storage.holder_index import IndexFacts
from tests.node.local_node import LocalNode

pytestmark = pytest.mark.chain


@pytest.fixture(scope="module")
def filled(network: LocalNode) -> Operator:
    """A node that ran a round: its indexes are proved at the pin."""
    return read_operator(network.settings, network.directory)


def head(operator: Operator, behind: int) -> Sequence[BlockReference]:
    """A newest block so far beyond the indexes."""
    (chain,) = operator.settings.chains
    tips = [facts.block for facts in read_indexes(operator).values() if isinstance(facts, IndexFacts)]
    newest = max(tip for tip in tips if tip is not None)
    return [BlockReference(chain_id=chain.chain_id, number=newest + behind, hash=Hash32(bytes(32)), timestamp=0)]


def files(operator: Operator) -> list[Path]:
    data = operator.directory / operator.settings.data_directory
    return [index_path(data, venue) for venue in indexed_venues(operator.venues)]


def found(operator: Operator, behind: int = 0) -> Sequence[Finding]:
    return indexes_findings(operator, read_indexes(operator), head(operator, behind))


def test_indexes_that_a_round_brings_to_the_pin_are_one_line(filled: Operator) -> None:
    (finding,) = found(filled, behind=19_999)
    assert (finding.check, finding.state) == ("indexes", State.GOOD)
    assert "19,999 blocks behind" in finding.said


def test_each_that_is_too_far_behind_is_named_with_the_command_that_fills_it(filled: Operator) -> None:
    told = found(filled, behind=20_000)
    assert [(each.state, each.code) for each in told] == [(State.PASSING, "index_behind")] * len(files(filled))
    assert all(each.remedy.endswith(each.check.removeprefix("index ")) for each in told)


def test_an_endpoint_must_have_the_logs_behind_the_index_and_no_older_ones(filled: Operator, tmp_path: Path) -> None:
    (chain,) = filled.settings.chains
    (newest,) = head(filled, 0)
    unindexed = {venue.start_block for venue in filled.venues} if len(filled.venues) > len(files(filled)) else set()
    assert first_needed(filled, read_indexes(filled)) == {chain.chain_id: {newest.number + 1} | unindexed}
    begins = {venue.start_block for venue in filled.venues}
    assert first_needed(filled, {}) == {chain.chain_id: begins}, "without an index from where the venues begin"


def test_one_that_was_not_found_complete_for_long_is_named(filled: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "INLINE_BLOCKS", 1)
    assert [each.state for each in found(filled)] == [State.GOOD]
    with closing(sqlite3.connect(files(filled)[0])) as connection:
        ((proved,),) = connection.execute("SELECT value FROM facts WHERE name = 'proved'").fetchall()
        connection.execute("DELETE FROM facts WHERE name = 'proved'")
        connection.commit()
        (finding,) = found(filled)
        connection.execute("INSERT INTO facts VALUES ('proved', ?)", (proved,))
        connection.commit()
    assert (finding.state, finding.code) == (State.CARE, "holders_incomplete")
    assert "plimsoll index verify" in finding.remedy


def test_one_that_cannot_be_read_or_is_another_venues_is_named(filled: Operator) -> None:
    first, second, *_ = files(filled)
    kept = first.read_bytes()
    try:
        first.write_bytes(b"nonsense" * 1_000)
        (damaged,) = found(filled)
        first.write_bytes(second.read_bytes())
        (foreign,) = found(filled)
    finally:
        first.write_bytes(kept)
    assert [(each.state, each.code) for each in (damaged, foreign)] == [(State.BROKEN, "index_unusable")] * 2
    assert [each.state for each in found(filled)] == [State.GOOD]
