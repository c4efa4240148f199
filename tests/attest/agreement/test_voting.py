"""What a round agrees on lies within what the honest say, whoever lies."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attest.agreement.outcome import Outcome, pins_root, values_root
from attest.agreement.state import AgreedState, genesis_state, next_state
from attest.agreement.voting import agree, agree_pin, agree_value, median
from attest.formats.parameters import AgreementParameters, ChainParameters
from attest.formats.quorums import at_least_one_honest, byzantine, honest_majority, tolerated_faults
from attest.wire.messages import GENESIS_REFERENCE, FactorVote, Observation
from riskschema.codec import from_builtins
from riskschema.portfolio import BlockReference
from riskschema.units import Address, Wad
from tests.attest.agreement.round_kit import CHAIN, GENESIS, INTERVAL, block, genesis_history, observation, rules

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "pins.json").read_text())
SIZES = st.sampled_from([1, *range(4, 32)])
PRICES = st.integers(1, 10**24)


def reference(value: dict[str, Any]) -> BlockReference:
    return from_builtins(value, BlockReference, what="vector")


def vote(value: int, confidence: int = 1) -> FactorVote:
    return FactorVote(factor="ETH", value=Wad(value), confidence=Wad(confidence))


def outcome_of(
    seen: dict[int, Observation],
    *,
    n: int = 4,
    round_number: int = 1,
    state: AgreedState | None = None,
    parameters: AgreementParameters | None = None,
) -> Outcome:
    used = rules(n, parameters)
    return agree(
        used,
        round_number=round_number,
        observations=seen,
        parent=GENESIS_REFERENCE,
        state=state or genesis_state(used, genesis_history()),
    )


@pytest.mark.parametrize("case", VECTORS["choices"], ids=lambda case: case["why"])
def test_pins_are_chosen_as_published(case: dict[str, Any]) -> None:
    pin = agree_pin(
        [[reference(head) for head in view] for view in case["views"]],
        one_honest=case["one_honest"],
        floor=case["floor"] and reference(case["floor"]),
        not_before=case["not_before"],
    )
    assert pin == (case["pin"] and reference(case["pin"]))


@pytest.mark.parametrize("case", VECTORS["roots"], ids=lambda case: f"{len(case['pins'])} pins")
def test_pins_have_the_published_root(case: dict[str, Any]) -> None:
    assert "0x" + pins_root([reference(pin) for pin in case["pins"]]).hex() == case["root"]


def test_the_median_is_the_lower_middle_element() -> None:
    assert [median(values) for values in ([5], [1, 9], [9, 1, 5], [4, 3, 2, 1])] == [5, 1, 5, 2]


@st.composite
def votes_with_liars(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Values of the honest and of up to f liars, at least 2f + 1 in all."""
    n = draw(SIZES)
    liars = draw(st.integers(0, tolerated_faults(n)))
    total = draw(st.integers(honest_majority(n), n))
    honest = draw(st.lists(PRICES, min_size=total - liars, max_size=total - liars))
    lies = draw(st.lists(st.integers(1, 10**36), min_size=liars, max_size=liars))
    return honest, lies


@given(votes=votes_with_liars())
def test_an_agreed_value_lies_within_the_honest_values(votes: tuple[list[int], list[int]]) -> None:
    honest, lies = votes
    agreed = agree_value("ETH", [vote(value) for value in [*lies, *honest]], 0)
    assert min(honest) <= agreed.value <= max(honest)


@given(votes=votes_with_liars(), confidences=st.data())
def test_liars_widen_the_confidence_at_most_to_the_honest_spread(
    votes: tuple[list[int], list[int]], confidences: st.DataObject
) -> None:
    honest, lies = votes
    sure = [confidences.draw(st.integers(1, 10**20)) for _ in honest]
    unsure = [confidences.draw(st.integers(1, 10**36)) for _ in lies]
    agreed = agree_value("ETH", [vote(*pair) for pair in zip([*honest, *lies], [*sure, *unsure], strict=True)], 0)
    assert min(sure) <= agreed.confidence <= max(*sure, max(honest) - min(honest))


def test_one_liar_among_four_does_not_steer_value_or_confidence() -> None:
    agreed = agree_value("ETH", [vote(100, 5), vote(100, 5), vote(1_000, 5)], 0)
    assert (agreed.value, agreed.confidence) == (100, 5)


def test_the_confidence_is_at_least_the_median_deviation() -> None:
    agreed = agree_value("ETH", [vote(90, 1), vote(100, 1), vote(120, 1)], 0)
    assert (agreed.value, agreed.confidence) == (100, 10)


@given(n=SIZES)
def test_two_byzantine_quorums_share_a_correct_node(n: int) -> None:
    assert 2 * byzantine(n) - n >= at_least_one_honest(n)


@given(data=st.data(), n=SIZES)
def test_a_pin_is_a_block_that_an_honest_operator_saw(data: st.DataObject, n: int) -> None:
    liars = data.draw(st.integers(0, tolerated_faults(n)))
    heads = data.draw(st.lists(st.integers(0, 20), min_size=n - liars, max_size=n - liars))
    honest = [[block(number, timestamp=100) for number in range(max(head - 3, 0), head + 1)] for head in heads]
    invented = [block(10**6, timestamp=100, fork=b"lie"), block(21, timestamp=100)]
    pin = agree_pin([*honest, *[invented] * liars], one_honest=at_least_one_honest(n), floor=None, not_before=0)
    if pin is not None:
        assert any(pin in view for view in honest)


def test_the_outcome_takes_the_median_clock_and_adds_the_life_of_a_report() -> None:
    outcome = outcome_of({index: observation(GENESIS + 10 + index) for index in range(4)})
    assert outcome.observed_at == GENESIS + 11
    assert outcome.valid_until == outcome.observed_at + 120


def test_the_order_of_the_observations_does_not_matter() -> None:
    seen = {index: observation(GENESIS + index, prices={"ETH": 3_000 + index}) for index in range(4)}
    assert outcome_of(seen) == outcome_of(dict(reversed(seen.items())))


def test_time_never_stands_still_between_reports() -> None:
    used = rules(1)
    first = outcome_of({0: observation(GENESIS + 10)}, n=1)
    state = next_state(genesis_state(used, genesis_history()), first)
    second = outcome_of({0: observation(GENESIS + 5)}, n=1, round_number=2, state=state)
    assert second.observed_at == first.observed_at + 1


def after_one_round(*, prices: dict[str, int] | None = None) -> AgreedState:
    outcome = outcome_of({index: observation(GENESIS + 10, prices=prices) for index in range(4)})
    return next_state(genesis_state(rules(4), genesis_history()), outcome)


def test_a_factor_without_a_majority_of_votes_keeps_its_value_flagged() -> None:
    state = after_one_round()
    votes = {"BTC": 51_000}
    seen = {
        index: observation(GENESIS + 20, prices={**votes, "ETH": 9_999} if index < 2 else votes) for index in range(4)
    }
    outcome = outcome_of(seen, round_number=2, state=state)
    ether, bitcoin = outcome.value("ETH"), outcome.value("BTC")
    assert bitcoin is not None
    assert ether is not None
    assert (bitcoin.value, bitcoin.stale, bitcoin.voted_at) == (51_000 * 10**18, False, GENESIS + 20)
    assert (ether.value, ether.stale, ether.voted_at) == (3_000 * 10**18, True, GENESIS + 10)


def test_a_value_that_was_kept_too_long_is_unavailable() -> None:
    state = after_one_round()
    for age, available in ((600, True), (601, False)):
        seen = {index: observation(GENESIS + 10 + age, prices={"BTC": 51_000}) for index in range(4)}
        outcome = outcome_of(seen, round_number=2, state=state)
        assert (outcome.value("ETH") is not None) is available


def test_a_factor_that_too_few_ever_voted_on_is_unavailable() -> None:
    seen = {index: observation(GENESIS + 10, prices={"DOGE": 1} if index < 2 else {}) for index in range(4)}
    assert outcome_of(seen).values == ()


def test_a_chain_without_an_agreed_block_is_out_and_its_pin_is_remembered() -> None:
    state = after_one_round()
    assert [pin.number for pin in state.pins] == [100]
    seen = {index: observation(GENESIS + 20, head=200 + 50 * index) for index in range(4)}
    outcome = outcome_of(seen, round_number=2, state=state)
    assert outcome.pins == ()
    assert next_state(state, outcome).pins == state.pins


def test_a_chain_that_stands_still_too_long_is_out() -> None:
    old = observation(GENESIS + 1_000)
    heads = tuple(msgspec.structs.replace(head, timestamp=GENESIS) for head in old.heads)
    seen = {index: msgspec.structs.replace(old, heads=heads) for index in range(4)}
    assert outcome_of(seen).pins == ()
    patient = AgreementParameters(chains=(ChainParameters(chain_id=CHAIN, max_pin_age_seconds=1_000),))
    assert [pin.chain_id for pin in outcome_of(seen, parameters=patient).pins] == [CHAIN]


def account(number: int) -> Address:
    return Address(f"0x{number:040x}")


def test_on_demand_accounts_stay_for_their_lifetime_then_leave() -> None:
    lived = AgreementParameters(request_lifetime_rounds=2)
    outcome = outcome_of({0: observation(GENESIS + 10, requests=(account(1),))}, n=1, parameters=lived)
    assert [(each.address, each.last_round) for each in outcome.on_demand] == [(account(1), 2)]
    state = genesis_state(rules(1), genesis_history())
    for round_number, expected in ((1, 1), (2, 1), (3, 0)):
        requests = (account(1),) if round_number == 1 else ()
        seen = {0: observation(GENESIS + INTERVAL * round_number, requests=requests)}
        outcome = outcome_of(seen, n=1, round_number=round_number, state=state, parameters=lived)
        state = next_state(state, outcome)
        assert len(outcome.on_demand) == expected


def test_new_accounts_are_taken_in_turns_up_to_the_places_of_each_operator() -> None:
    small = AgreementParameters(request_capacity=8)
    greedy = tuple(account(number) for number in (1, 2, 3))
    seen = {0: observation(GENESIS, requests=greedy), 1: observation(GENESIS, requests=(account(9),))}
    seen |= {2: observation(GENESIS), 3: observation(GENESIS)}
    outcome = outcome_of(seen, parameters=small)
    assert [(each.address, each.operator) for each in outcome.on_demand] == [
        (account(1), 0),
        (account(2), 0),
        (account(9), 1),
    ]


def test_an_operator_that_asks_for_everything_leaves_the_places_of_the_others() -> None:
    """With places for all alike, one that asks for three a round has them all for good."""
    parameters = AgreementParameters(request_capacity=40)
    state = genesis_state(rules(4, parameters), genesis_history())
    for round_number in range(1, 101):
        now = GENESIS + INTERVAL * round_number
        asked = tuple(account(3 * round_number + each) for each in range(3))
        seen = {operator: observation(now) for operator in range(4)} | {2: observation(now, requests=asked)}
        if round_number == 100:
            seen[3] = observation(now, requests=(account(1),))
        outcome = outcome_of(seen, round_number=round_number, state=state, parameters=parameters)
        state = next_state(state, outcome)
    by_operator = Counter(each.operator for each in state.on_demand)
    assert by_operator == {2: 10, 3: 1}


def test_votes_on_factors_that_are_not_listed_count_for_nothing() -> None:
    listed = AgreementParameters(factors=("BTC",))
    seen = {index: observation(GENESIS + 10) for index in range(4)}
    assert [value.factor for value in outcome_of(seen, parameters=listed).values] == ["BTC"]
    assert [value.factor for value in outcome_of(seen).values] == ["BTC", "ETH"]


def test_the_values_root_commits_to_every_field() -> None:
    values = outcome_of({0: observation(GENESIS + 10)}, n=1).values
    roots = {values_root(values), values_root(values[:1]), values_root(())}
    for change in ({"value": Wad(1)}, {"confidence": Wad(1)}, {"voted_at": 1}, {"factor": "X"}):
        roots.add(values_root((msgspec.structs.replace(values[0], **change), *values[1:])))
    assert len(roots) == 7
