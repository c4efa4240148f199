"""What would earn a better grade: promised only after the changed account was assessed."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from aggregator.assess import assess
from aggregator.changes import candidates, changed
from aggregator.improvement import FINENESS, improvements
from riskschema.assessment import GRADES
from riskschema.codec import from_builtins
from riskschema.portfolio import Restriction

NEAR = {"ETH": 10, "USDC": -15_000}
UNITS = {"ETH": 10**18, "USDC": 10**6, "BTC": 10**8, "DAI": 10**18}


def grade(lab, parameters, *silos) -> str:
    return assess([lab.portfolio(*silos)], lab.market(), parameters).assessments[0].grade


@pytest.fixture(scope="module")
def found(lab, parameters):
    account = lab.portfolio(lab.lending(NEAR, ident="near"), lab.lending({"BTC": 1, "DAI": -10_000}, ident="safe"))
    now, changes = improvements(account, lab.market(), parameters)
    return now, {change.action: change for change in changes}


def moved(change, name: str) -> float:
    (part,) = (part for part in change.parts if part.symbol == name)
    return part.quantity / UNITS[name]


def test_repaying_as_much_earns_the_grade_and_hardly_less_does_not(lab, parameters, found) -> None:
    now, changes = found
    other = lab.lending({"BTC": 1, "DAI": -10_000}, ident="safe")
    repaid = moved(changes["repay"], "USDC")
    assert changes["repay"].silo == "near"
    assert changes["repay"].value == pytest.approx(repaid * 10**8, rel=1e-9)
    enough, little = (
        grade(lab, parameters, lab.lending({"ETH": 10, "USDC": -15_000 + share * repaid}, ident="near"), other)
        for share in (1.0, 0.999)
    )
    assert enough == changes["repay"].grade != now.grade == little


def test_adding_as_much_earns_the_grade_and_hardly_less_does_not(lab, parameters, found) -> None:
    now, changes = found
    other = lab.lending({"BTC": 1, "DAI": -10_000}, ident="safe")
    added = moved(changes["add"], "ETH")
    enough, little = (
        grade(lab, parameters, lab.lending({"ETH": 10 + share * added, "USDC": -15_000}, ident="near"), other)
        for share in (1.0001, 0.999)
    )
    assert enough == changes["add"].grade != now.grade == little


def test_selling_collateral_to_repay_takes_more_than_repaying_from_elsewhere(found) -> None:
    _, changes = found
    sold, repaid = -moved(changes["close"], "ETH") * 2_000, moved(changes["close"], "USDC")
    assert sold == pytest.approx(repaid, rel=1e-6)
    assert sold >= repaid > moved(changes["repay"], "USDC")


def test_cheaper_changes_come_first_and_all_lead_to_the_next_grade(lab, parameters) -> None:
    now, changes = improvements(lab.portfolio(lab.lending(NEAR)), lab.market(), parameters)
    assert all(cheap.value <= dear.value for cheap, dear in pairwise(changes))
    assert {GRADES.index(change.grade) for change in changes} == {GRADES.index(now.grade) - 1}


def test_who_is_graded_best_needs_nothing(lab, parameters) -> None:
    for silo in (lab.lending({"ETH": 10, "USDC": -100}), lab.wallet({"ETH": 1})):
        now, changes = improvements(lab.portfolio(silo), lab.market(), parameters)
        assert (now.grade, changes) == ("A", ())


def test_a_liquidatable_silo_is_brought_back_by_its_venues_own_figure(lab, parameters) -> None:
    """The venue says .98 where its rule says .96: repaying a fiftieth of the debt brings it to one."""
    silo = lab.lending({"ETH": 10, "USDC": -16_650}, health=0.98)
    now, changes = improvements(lab.portfolio(silo), lab.market(), parameters)
    assert now.grade == "D"
    repay = next(change for change in changes if change.action == "repay")
    assert repay.grade != "D"
    assert moved(repay, "USDC") == pytest.approx(16_650 * 0.02, rel=1e-3)


def test_where_no_single_silo_helps_all_debts_are_repaid_in_part(lab, parameters) -> None:
    silos = [lab.lending({"ETH": 10, "USDC": -15_000}, ident=name, chain_id=n) for n, name in enumerate("ab", 1)]
    now, changes = improvements(lab.portfolio(*silos), lab.market(), parameters)
    (repay,) = changes
    assert (repay.silo, len(repay.parts)) == (None, 2)
    assert repay.parts[0].quantity == repay.parts[1].quantity > 0
    assert GRADES.index(repay.grade) < GRADES.index(now.grade)


def test_what_no_amount_helps_is_not_offered(lab, parameters) -> None:
    """A second debt that nobody follows keeps the account at C."""
    silo = lab.lending({"ETH": 10, "USDC": -1_000}, health=2)
    unknown = lab.lending({"ETH": 10, "CRV": -1}, ident="unknown")
    market = lab.market()
    market = type(market)(as_of=market.as_of, quotes=tuple(q for q in market.quotes if q.factor != "CRV"))
    now, changes = improvements(lab.portfolio(silo, unknown), market, parameters)
    assert now.grade == "C"
    assert {change.silo for change in changes} <= {"unknown"}


@pytest.mark.parametrize("action", ["repay", "add", "close"])
def test_health_after_a_change_is_the_venues(lab, action: str) -> None:
    account = lab.portfolio(lab.lending({"ETH": 10, "USDC": -13_000}))
    chosen = next(each for each in candidates(account) if each.action == action)
    after = changed(account, chosen.deltas(chosen.most // 7)).silos[0]
    units = {p.instrument.token.symbol: p.quantity / UNITS[p.instrument.token.symbol] for p in after.positions}
    assert after.health == pytest.approx(lab.lending(units).health, rel=1e-8)
    assert chosen.most // FINENESS >= 1


def restricted(silo, **kinds: str):
    """Return a silo with restrictions: kind and the name of the asset."""
    tokens = {held.instrument.token.symbol: held.instrument.token.address for held in silo.positions}
    limits = tuple(
        from_builtins({"kind": kind, "asset": tokens[name]}, Restriction, what=kind) for kind, name in kinds.items()
    )
    return msgspec.structs.replace(silo, restrictions=limits)


@pytest.mark.parametrize(
    ("kind", "name", "left"),
    [
        ("paused", "USDC", {"add"}),
        ("inactive", "USDC", {"add"}),
        ("paused", "ETH", {"repay"}),
        ("frozen", "ETH", {"repay", "close"}),
        ("supply_capped", "ETH", {"repay", "close"}),
        ("frozen", "USDC", {"repay", "add", "close"}),
        ("borrow_capped", "USDC", {"repay", "add", "close"}),
        ("grace_period", "ETH", {"repay", "add", "close"}),
        ("deficit", "USDC", {"repay", "add", "close"}),
    ],
)
def test_what_the_venue_lets_nobody_do_is_not_proposed(lab, parameters, kind: str, name: str, left: set[str]) -> None:
    free = lab.lending(NEAR, ident="near")
    now, changes = improvements(lab.portfolio(free), lab.market(), parameters)
    assert {change.action for change in changes} == {"repay", "add", "close"}
    same, possible = improvements(lab.portfolio(restricted(free, **{kind: name})), lab.market(), parameters)
    assert {change.action for change in possible} == left
    assert same == now


def test_all_debts_are_repaid_in_part_only_where_each_can_be(lab) -> None:
    silos = [lab.lending({"ETH": 10, "USDC": -15_000}, ident=name, chain_id=n) for n, name in enumerate("ab", 1)]
    assert [each for each in candidates(lab.portfolio(*silos)) if each.silo is None]
    stuck = lab.portfolio(silos[0], restricted(silos[1], paused="USDC"))
    assert not [each for each in candidates(stuck) if each.silo is None]
