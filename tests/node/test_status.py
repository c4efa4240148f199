"""Readiness of a node, and what it logs about it."""

from structlog.testing import capture_logs

from node.status import NodeStatus
from riskschema.reasons import REASONS
from riskschema.rounds import RoundStep


def running(*, at: float = 1_000.0) -> NodeStatus:
    status = NodeStatus(round_interval=10, stale_after_intervals=3)
    status.certify(7, at=at)
    return status


def test_a_node_that_never_certified_a_round_is_not_ready():
    assert NodeStatus(round_interval=10).ready(0) == ("round_missing",)


def test_a_node_is_ready_until_the_last_certified_round_is_several_intervals_old():
    status = running(at=1_000)

    assert status.ready(1_030) == ()
    assert status.ready(1_030.1) == ("round_overdue",)


def test_a_round_certified_late_does_not_hide_a_newer_one():
    status = running(at=1_000)
    status.certify(6, at=1_020)

    assert status.certified is not None
    assert (status.certified.round, status.certified.at) == (7, 1_000)


def test_the_step_under_way_is_visible():
    status = NodeStatus(round_interval=10)
    status.begin(8, RoundStep.READ)

    assert (status.round, status.step) == (8, RoundStep.READ)


def test_every_failing_component_is_named_once_with_its_reason_and_when_it_began():
    status = running()
    status.fail("publisher", "publish_late", at=1_001)
    status.fail("chain 1", "endpoint_unreachable", at=1_002)
    status.fail("chain 1", "endpoint_unreachable", at=1_009)

    assert [(each.component, each.code, each.since) for each in status.failures(1_010)] == [
        ("chain 1", "endpoint_unreachable", 1_002),
        ("publisher", "publish_late", 1_001),
    ]


def test_two_components_that_fail_for_one_reason_give_one_code():
    status = running()
    status.fail("chain 1", "endpoint_unreachable", at=1_001)
    status.fail("chain 10", "endpoint_unreachable", at=1_001)

    assert status.ready(1_001) == ("endpoint_unreachable",)


def test_a_component_that_recovers_no_longer_keeps_the_node_from_being_ready():
    status = running()
    status.fail("market", "market_unavailable", at=1_001)
    status.recover("market", at=1_002)

    assert status.ready(1_002) == ()


def test_a_failure_is_logged_when_it_begins_and_when_it_is_over_but_not_at_every_repetition():
    status = running()
    with capture_logs() as logs:
        for second in range(20):
            status.fail("chain 1", "endpoint_unreachable", at=1_000 + second, detail="connection refused")
        status.recover("chain 1", at=1_030)
        status.recover("chain 1", at=1_031)

    assert [(entry["event"], entry["component"], entry["reason"]) for entry in logs] == [
        ("failed", "chain 1", "endpoint_unreachable"),
        ("recovered", "chain 1", "endpoint_unreachable"),
    ]
    assert logs[0]["detail"] == "connection refused"
    assert logs[1]["seconds"] == 30


def test_a_failure_that_changes_its_reason_is_logged_again_but_keeps_its_beginning():
    status = running()
    with capture_logs() as logs:
        status.fail("chain 1", "endpoint_unreachable", at=1_001)
        status.fail("chain 1", "wrong_chain", at=1_005)

    assert [entry["reason"] for entry in logs] == ["endpoint_unreachable", "wrong_chain"]
    assert [(each.code, each.since) for each in status.failures(1_006)] == [("wrong_chain", 1_001)]


def test_the_reasons_that_the_status_gives_by_itself_are_explained():
    assert {"round_missing", "round_overdue"} <= REASONS.keys()
