"""How observations become an outcome: pure functions of the proposal and the parent's state.

Every rule holds with up to f operators lying: a median of at least 2f + 1 votes lies within the honest ones, and among
f + 1 that vouch for a block one is honest.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from attest.agreement.outcome import AgreedValue, OnDemandAccount, Outcome
from attest.agreement.rules import AgreementRules
from attest.agreement.state import AgreedState
from attest.wire.messages import FactorVote, Observation, ReportReference
from riskschema.instruments import FactorId
from riskschema.portfolio import BlockReference
from riskschema.units import Wad


def agree(
    rules: AgreementRules,
    *,
    round_number: int,
    observations: Mapping[int, Observation],
    parent: ReportReference,
    state: AgreedState,
) -> Outcome:
    """Return the outcome of a round.

    Args:
        rules: The committee's.
        round_number: The round.
        observations: By operator; at least n - f, each valid for the round (`attest.agreement.proposals`).
        parent: The report that the round builds on.
        state: The state after it.
    """
    by_operator = {sender: observations[sender] for sender in sorted(observations)}
    seen = list(by_operator.values())
    observed_at = max(median([each.clock_ms // 1_000 for each in seen]), state.observed_at + 1)
    return Outcome(
        round=round_number,
        parent=parent,
        observed_at=observed_at,
        valid_until=observed_at + rules.committee.report_life_seconds,
        pins=_agree_pins(rules, seen, state.pins, observed_at),
        values=_agree_values(rules, seen, state.values, observed_at),
        on_demand=_agree_requests(rules, by_operator, state.on_demand, round_number),
    )


def median(values: Sequence[int]) -> int:
    """Return the middle of the sorted values, the lower of two: an element, never an average.

    Of at least 2f + 1 values with f wrong ones, at least one right value lies on either side of it, or is it.
    """
    return sorted(values)[(len(values) - 1) // 2]


def agree_value(factor: FactorId, votes: Sequence[FactorVote], observed_at: int) -> AgreedValue:
    """Return the median value; the confidence is the wider of the median confidence and the median deviation.

    (Medians over value ± confidence, or quartile distances, are steered by one liar among four.)
    """
    value = median([vote.value for vote in votes])
    spread = median([abs(vote.value - value) for vote in votes])
    confidence = max(median([vote.confidence for vote in votes]), spread)
    return AgreedValue(factor=factor, value=Wad(value), confidence=Wad(confidence), voted_at=observed_at, stale=False)


def agree_pin(
    views: Sequence[Sequence[BlockReference]], *, one_honest: int, floor: BlockReference | None, not_before: int
) -> BlockReference | None:
    """Return the highest block that at least `one_honest` observers vouch for, or None.

    Args:
        views: Per observer the blocks of one chain.
        one_honest: f + 1.
        floor: The last pin of the chain; no lower block is taken.
        not_before: Unix time; an older block says nothing about now.
    """
    vouched = Counter(block for view in views for block in set(view))
    lowest = floor.number if floor else 0
    fit = [
        block
        for block, count in vouched.items()
        if count >= one_honest and block.number >= lowest and block.timestamp >= not_before
    ]
    # Two blocks of one height can only both have f + 1 vouchers during a reorg; the hash decides, alike for all.
    return max(fit, key=lambda block: (block.number, block.hash, block.timestamp), default=None)


def _agree_pins(
    rules: AgreementRules, seen: Sequence[Observation], known: Sequence[BlockReference], observed_at: int
) -> tuple[BlockReference, ...]:
    floors = {pin.chain_id: pin for pin in known}
    pins = []
    for chain in rules.committee.chains:
        views = [[head for head in each.heads if head.chain_id == chain.chain_id] for each in seen]
        floor = floors.get(chain.chain_id)
        not_before = max(observed_at - rules.chain(chain.chain_id).max_pin_age_seconds, 0)
        pin = agree_pin(views, one_honest=rules.one_honest, floor=floor, not_before=not_before)
        if pin is not None:
            pins.append(pin)
    return tuple(pins)


def _agree_values(
    rules: AgreementRules, seen: Sequence[Observation], known: Sequence[AgreedValue], observed_at: int
) -> tuple[AgreedValue, ...]:
    votes: dict[str, list[FactorVote]] = {}
    for observation in seen:
        for vote in filter(lambda vote: rules.agrees_on(vote.factor), observation.votes):
            votes.setdefault(vote.factor, []).append(vote)
    oldest = observed_at - rules.parameters.max_value_age_seconds
    agreed = {value.factor: msgspec.structs.replace(value, stale=True) for value in known if value.voted_at >= oldest}
    for factor, cast in votes.items():
        if len(cast) >= rules.majority:
            agreed[factor] = agree_value(factor, cast, observed_at)
    return tuple(agreed[factor] for factor in sorted(agreed))


def _agree_requests(
    rules: AgreementRules,
    seen: Mapping[int, Observation],
    known: Sequence[OnDemandAccount],
    round_number: int,
) -> tuple[OnDemandAccount, ...]:
    """Keep those that live, then take new ones in turns, one of each operator, up to its own places."""
    active = {account.address: account for account in known if account.last_round >= round_number}
    held = Counter(account.operator for account in active.values())
    last_round = round_number + rules.parameters.request_lifetime_rounds - 1
    longest = max((len(observation.requests) for observation in seen.values()), default=0)
    for turn in range(longest):
        for operator, observation in seen.items():
            new = turn < len(observation.requests) and observation.requests[turn] not in active
            if new and held[operator] < rules.places and len(active) < rules.parameters.request_capacity:
                address = observation.requests[turn]
                active[address] = OnDemandAccount(address=address, operator=operator, last_round=last_round)
                held[operator] += 1
    return tuple(active[address] for address in sorted(active))
