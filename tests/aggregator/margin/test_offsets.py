"""What a hedge between silos is credited: all of it where collateral is shared, a part elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from aggregator.assess import assess
from riskschema.assessment import Assessment

LONG = {"ETH": 10, "USDC": -5_000}
SHORT = {"USDC": 40_000, "ETH": -10}


def hedged(lab: Any, parameters: Any, long: dict[str, Any], short: dict[str, Any]) -> Assessment:
    """Assess two opposite silos; each is described by arguments of `lab.lending`."""
    silos = (lab.lending(LONG, ident="a", **long), lab.lending(SHORT, ident="b", **short))
    (found,) = assess([lab.portfolio(*silos)], lab.market(), parameters).assessments
    return found


def credited(found: Assessment) -> float:
    """Return the share of the possible saving that the margin is reduced by."""
    return (found.siloed_margin - found.initial_margin) / (found.siloed_margin - found.net_margin)


def test_two_pools_of_one_protocol_are_netted_like_two_protocols(lab, parameters) -> None:
    pools = hedged(lab, parameters, {"deployment": "core"}, {"deployment": "prime"})
    protocols = hedged(lab, parameters, {}, {"protocol": "spark"})
    assert pools.initial_margin == protocols.initial_margin
    assert credited(pools) == pytest.approx(0.5, abs=0.01)


def test_two_markets_of_one_venue_share_nothing_either(lab, parameters) -> None:
    markets = hedged(lab, parameters, {}, {})
    assert markets.initial_margin == hedged(lab, parameters, {}, {"protocol": "spark"}).initial_margin


def test_a_cross_margin_group_is_credited_whole(lab, parameters) -> None:
    shared = hedged(lab, parameters, {"cross_margin_group": "main"}, {"cross_margin_group": "main"})
    assert credited(shared) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("other", [{"deployment": "prime"}, {"chain_id": 10}])
def test_a_group_ends_at_its_venue(lab, parameters, other) -> None:
    named = hedged(lab, parameters, {"cross_margin_group": "main"}, {"cross_margin_group": "main", **other})
    assert named.initial_margin == hedged(lab, parameters, {}, other).initial_margin


def test_other_silos_of_the_venue_stay_outside_the_group(lab, parameters) -> None:
    outside = hedged(lab, parameters, {"cross_margin_group": "main"}, {})
    assert outside.initial_margin == hedged(lab, parameters, {}, {}).initial_margin
