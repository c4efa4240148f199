"""A node that lies, beside three that do not: it stops nothing that a correct leader leads, and everybody names it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from attest.agreement.rules import AgreementRules
from node.local import broker as local
from node.local.broker import find_mosquitto, local_broker
from node.local.processes import LIAR
from tests.node.local.test_committee import NODES, Running, committee
from tests.patience import eventually

LIES, HONEST = NODES - 1, range(NODES - 1)
WINDOW = 2 * NODES
ROOT = Path(__file__).parents[3]


def test_no_node_imports_the_liar_and_one_place_starts_it() -> None:
    packages = ("node", "attest", "adapters", "aggregator", "backtest", "storage", "contracts", "devnet", "riskschema")
    sources = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    naming = {str(path.relative_to(ROOT)) for path in sources if "local.liar" in path.read_text()}
    assert naming == {"node/local/processes.py"}
    assert (ROOT / (LIAR.replace(".", "/") + ".py")).is_file()


@pytest.mark.chain
async def test_rounds_of_correct_leaders_certify_beside_a_liar_whom_all_others_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_mosquitto_out(monkeypatch)
    async with committee(tmp_path, faulty=1) as running:
        network = running.network
        async with local_broker(tmp_path, network.committee, network.operators, port=network.broker_port) as broker:
            assert broker.startswith("the embedded broker")
            await eventually(lambda: named_by_all(running))
            await eventually(lambda: every_round_of_a_correct_leader_certified(running))
    assert {sender for each in HONEST for sender in accused_by(running, each)} == {str(LIES)}


def leave_mosquitto_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take Mosquitto off the PATH, wherever it is."""
    places = os.environ.get("PATH", "").split(":")
    kept = [place for place in places if shutil.which("mosquitto", path=place) is None]
    monkeypatch.setenv("PATH", ":".join(kept))
    monkeypatch.setattr(local, "PLACES", "")
    assert find_mosquitto() is None


def accused_by(running: Running, operator: int) -> set[str]:
    with closing(sqlite3.connect(running.network.operators[operator].directory / "plimsoll.sqlite")) as connection:
        return {sender for (sender,) in connection.execute("SELECT DISTINCT sender FROM evidence")}


async def named_by_all(running: Running) -> bool:
    running.nodes.check()
    await running.answer_again()
    return all(running.certified(each) and accused_by(running, each) for each in HONEST)


async def every_round_of_a_correct_leader_certified(running: Running) -> bool:
    """Say whether somewhere in so many rounds after each other all that a correct operator led are certified."""
    running.nodes.check()
    await running.answer_again()
    rules, certified = AgreementRules.of(running.network.committee), set(running.certified(0))
    good = [number in certified or rules.leader(number) == LIES for number in range(1, max(certified) + 1)]
    return any(all(good[first : first + WINDOW]) for first in range(len(good) - WINDOW + 1))
