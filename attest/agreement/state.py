"""Everything with memory, as one immutable value: state(r) = next_state(state(parent), outcome(r)).

The aggregator's memory (variances, regime) joins as named sections of bytes, which nothing here looks into. Bytes and
root are in `attest.agreement.state_format`.
"""

from collections.abc import Mapping

import msgspec

from attest.agreement.outcome import AgreedValue, OnDemandAccount, Outcome
from attest.agreement.rules import AgreementRules
from attest.hours.hourly import FreshPrice, HourlyMemory, advance, price_units
from attest.hours.table import genesis_memory
from attest.wire.messages import NO_REPORT
from riskschema.errors import InvalidData
from riskschema.market import HourlyHistory
from riskschema.portfolio import BlockReference


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A named part of the state that belongs to another stage."""

    name: str
    data: bytes


class AgreedState(msgspec.Struct, frozen=True, kw_only=True):
    """What all operators remember after a report."""

    config_digest: bytes
    round: int
    """Of the report after which this is the state; 0 at genesis."""
    parent: bytes
    """Report hash of that report's parent."""
    observed_at: int
    values: tuple[AgreedValue, ...]
    """By factor."""
    pins: tuple[BlockReference, ...]
    """The last pin of every chain, by chain id, also of one that is out: no later pin goes below."""
    on_demand: tuple[OnDemandAccount, ...]
    """By address."""
    hours: HourlyMemory
    sections: tuple[Section, ...] = ()
    """By name."""


def genesis_state(rules: AgreementRules, history: HourlyHistory) -> AgreedState:
    """Return the state before the first round.

    Args:
        rules: The committee's.
        history: Its genesis price history; the running hour begins where it ends.

    Raises:
        InvalidData: the history is not the one that the committee names.
    """
    hours = genesis_memory(history)
    if hours.root != rules.committee.history_hash:
        raise InvalidData(
            f"genesis history: its hash is 0x{hours.root.hex()}, "
            f"the committee names 0x{rules.committee.history_hash.hex()}",
            code="invalid_document",
        )
    return AgreedState(
        config_digest=rules.config_digest,
        round=0,
        parent=NO_REPORT,
        observed_at=rules.committee.genesis_time,
        values=(),
        pins=(),
        on_demand=(),
        hours=hours,
    )


def next_state(state: AgreedState, outcome: Outcome) -> AgreedState:
    """Return the state after a round; the sections are the parent's until `with_sections` replaces them.

    Args:
        state: After the parent.
        outcome: Of the round.

    Raises:
        InvalidData: the outcome is not later than the state, or lies before its running hour.
    """
    if outcome.round <= state.round or outcome.observed_at <= state.observed_at:
        raise InvalidData(
            f"round {outcome.round} at {outcome.observed_at} does not follow round {state.round} at "
            f"{state.observed_at}",
            code="invalid_document",
        )
    prices = {
        value.factor: FreshPrice(price=price_units(value.value), fresh=not value.stale) for value in outcome.values
    }
    pins = {pin.chain_id: pin for pin in (*state.pins, *outcome.pins)}
    return AgreedState(
        config_digest=state.config_digest,
        round=outcome.round,
        parent=outcome.parent.report_hash,
        observed_at=outcome.observed_at,
        values=outcome.values,
        pins=tuple(pins[chain_id] for chain_id in sorted(pins)),
        on_demand=outcome.on_demand,
        hours=advance(state.hours, outcome.observed_at, prices),
        sections=state.sections,
    )


def with_sections(state: AgreedState, sections: Mapping[str, bytes]) -> AgreedState:
    """Return the state with these further sections instead of its own."""
    ordered = tuple(Section(name=name, data=sections[name]) for name in sorted(sections))
    return msgspec.structs.replace(state, sections=ordered)
