"""The agreed state: published bytes, one encoding, and a root that does not grow with the age of the network."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attest.agreement.outcome import AgreedValue, OnDemandAccount, Outcome
from attest.agreement.state import AgreedState, Section, genesis_state, next_state, with_sections
from attest.agreement.state_format import MAX_STATE_BYTES, decode_state, encode_state, state_root
from attest.hours.hourly import HOUR, RECENT_HOURS, HourlyMemory, HourPrice, HourRow
from attest.wire.messages import GENESIS_REFERENCE
from riskschema.codec import from_builtins
from riskschema.errors import InvalidData
from riskschema.portfolio import BlockReference
from riskschema.units import Address, Wad
from tests.attest.agreement.round_kit import CHAIN, GENESIS, block, committee, genesis_history, rules

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "state.json").read_text())


def raw(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def published() -> AgreedState:
    fields = VECTOR["state"]
    hours = fields["hours"]
    return AgreedState(
        config_digest=raw(fields["config_digest"]),
        round=fields["round"],
        parent=raw(fields["parent"]),
        observed_at=fields["observed_at"],
        values=tuple(
            AgreedValue(**{**value, "value": Wad(int(value["value"])), "confidence": Wad(int(value["confidence"]))})
            for value in fields["values"]
        ),
        pins=tuple(from_builtins(pin, BlockReference, what="vector") for pin in fields["pins"]),
        on_demand=tuple(
            OnDemandAccount(operator=3, address=Address(each["address"]), last_round=each["last_round"])
            for each in fields["on_demand"]
        ),
        hours=HourlyMemory(
            root=raw(hours["root"]),
            count=hours["count"],
            open_hour=hours["open_hour"],
            running=tuple(HourPrice(**price) for price in hours["running"]),
            recent=tuple(
                HourRow(hour=row["hour"], prices=tuple(HourPrice(**price) for price in row["prices"]))
                for row in hours["recent"]
            ),
        ),
        sections=tuple(Section(name=each["name"], data=raw(each["data"])) for each in fields["sections"]),
    )


def outcome(round_number: int, *, seconds: int, price: int = 3_000, pins: tuple[BlockReference, ...] = ()) -> Outcome:
    observed_at = GENESIS + seconds
    value = AgreedValue(factor="ETH", value=Wad(price * 10**18), confidence=Wad(1), voted_at=observed_at, stale=False)
    return Outcome(
        round=round_number,
        parent=GENESIS_REFERENCE,
        observed_at=observed_at,
        valid_until=observed_at + 60,
        pins=pins,
        values=(value,),
        on_demand=(),
    )


def test_the_state_has_the_published_bytes_and_root() -> None:
    state = published()
    assert encode_state(state) == raw(VECTOR["encoded"])
    assert state_root(state) == raw(VECTOR["root"])
    assert decode_state(raw(VECTOR["encoded"])) == state


@given(data=st.data())
def test_changed_bytes_are_refused_or_are_another_state(data: st.DataObject) -> None:
    encoded = bytearray(raw(VECTOR["encoded"]))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    try:
        state = decode_state(bytes(encoded))
    except InvalidData:
        return
    assert encode_state(state) == bytes(encoded)
    assert state_root(state) != raw(VECTOR["root"])


@given(end=st.integers(0, len(raw(VECTOR["encoded"])) - 1))
def test_a_state_that_was_cut_off_is_refused(end: int) -> None:
    with pytest.raises(InvalidData):
        decode_state(raw(VECTOR["encoded"])[:end])


def test_a_state_above_16_mib_is_refused_before_it_is_read() -> None:
    with pytest.raises(InvalidData, match="larger"):
        decode_state(bytes(MAX_STATE_BYTES + 1))


def test_a_state_without_one_of_its_own_sections_is_refused() -> None:
    encoded = raw(VECTOR["encoded"])
    assert encoded.count(b"\0\x05hours") == 1
    with pytest.raises(InvalidData, match="'hours'"):
        decode_state(encoded.replace(b"\0\x05hours", b"\0\x05hourz"))


@pytest.mark.parametrize("field", ["values", "pins"])
def test_lists_out_of_order_have_no_encoding(field: str) -> None:
    state = published()
    wrong = msgspec.structs.replace(state, **{field: getattr(state, field)[::-1]})
    for function in (encode_state, state_root):
        with pytest.raises(InvalidData, match="increasing"):
            function(wrong)


def test_no_stage_takes_a_section_of_the_agreement() -> None:
    with pytest.raises(InvalidData, match="increasing"):
        state_root(with_sections(published(), {"pins": b"mine"}))


def test_the_root_covers_every_field() -> None:
    state = published()
    changes: list[dict[str, Any]] = [
        {"config_digest": bytes(32)},
        {"round": 1},
        {"parent": bytes(32)},
        {"observed_at": 1},
        {"values": state.values[:1]},
        {"values": (msgspec.structs.replace(state.values[0], stale=True), state.values[1])},
        {"pins": state.pins[:1]},
        {"on_demand": ()},
        {"hours": msgspec.structs.replace(state.hours, count=2)},
        {"hours": msgspec.structs.replace(state.hours, recent=())},
        {"sections": ()},
        {"sections": (Section(name="aggregator/variances", data=b"other"),)},
    ]
    roots = {state_root(msgspec.structs.replace(state, **change)) for change in changes}
    assert len(roots | {state_root(state)}) == len(changes) + 1


def test_genesis_is_the_committees_history() -> None:
    state = genesis_state(rules(4), genesis_history())
    assert (state.round, state.parent, state.observed_at) == (0, bytes(32), GENESIS)
    assert state.hours.root == committee(4).history_hash
    with pytest.raises(InvalidData, match="the committee names"):
        genesis_state(rules(4), msgspec.structs.replace(genesis_history(), simulated=False))


def test_a_step_takes_in_values_pins_and_prices_and_keeps_the_sections() -> None:
    before = with_sections(genesis_state(rules(4), genesis_history()), {"aggregator/regime": b"calm"})
    pin = block(5, timestamp=GENESIS)
    after = next_state(before, outcome(1, seconds=10, price=2_900, pins=(pin,)))
    assert (after.round, after.observed_at, after.pins) == (1, GENESIS + 10, (pin,))
    assert after.hours.running[1].low == 2_900 * 10**12
    assert after.sections == before.sections
    later = next_state(after, outcome(2, seconds=20))
    assert later.pins == (pin,), "the last pin is remembered while the chain is out"
    replaced = next_state(later, outcome(3, seconds=30, pins=(block(9, timestamp=GENESIS),)))
    assert [(each.chain_id, each.number) for each in replaced.pins] == [(CHAIN, 9)]


def test_a_step_never_goes_back_in_round_or_time() -> None:
    state = next_state(genesis_state(rules(4), genesis_history()), outcome(5, seconds=50))
    for wrong in (outcome(5, seconds=60), outcome(4, seconds=60), outcome(6, seconds=50)):
        with pytest.raises(InvalidData, match="does not follow"):
            next_state(state, wrong)


def test_rounds_that_are_skipped_leave_no_trace() -> None:
    genesis = genesis_state(rules(4), genesis_history())
    through = next_state(next_state(genesis, outcome(1, seconds=10)), outcome(3, seconds=30))
    assert through.round == 3
    assert next_state(genesis, outcome(3, seconds=30)).hours == through.hours


def test_years_of_hours_do_not_make_the_state_larger() -> None:
    state = next_state(genesis_state(rules(4), genesis_history()), outcome(1, seconds=0 + 1))
    after_two_days = next_state(state, outcome(2, seconds=RECENT_HOURS * HOUR))
    after_a_year = next_state(after_two_days, outcome(3, seconds=365 * 24 * HOUR))
    assert after_a_year.hours.count == 365 * 24
    assert len(encode_state(after_a_year)) == len(encode_state(after_two_days))


@pytest.mark.parametrize("seconds", [20, HOUR + 20])
def test_an_hour_whose_last_value_was_carried_over_is_flagged_filled_in_the_agreed_state(seconds: int) -> None:
    """Docs/agreement.md: a factor without a fresh value closes at its last price, flagged. It decides the root."""
    before = next_state(genesis_state(rules(1), genesis_history()), outcome(1, seconds=10))
    fresh = outcome(2, seconds=seconds)
    stale = msgspec.structs.replace(
        fresh, values=tuple(msgspec.structs.replace(value, stale=True) for value in fresh.values)
    )
    after = {False: next_state(before, fresh), True: next_state(before, stale)}
    for is_stale, state in after.items():
        (running,) = (price for price in state.hours.running if price.factor == "ETH")
        assert (running.close, running.filled) == (3_000 * 10**12, is_stale)
        assert [value.stale for value in state.values] == [is_stale]
    assert state_root(after[False]) != state_root(after[True])
