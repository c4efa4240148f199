"""A flag's bit never changes: contracts and wallets have it in their code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskschema.flags import Flag, flag_bits, flags_of
from riskschema.reasons import REASONS

PUBLISHED = {
    "history_simulated": 0,
    "history_short": 1,
    "history_filled": 2,
    "quote_stale": 3,
    "venue_unread": 4,
    "unpriced": 5,
    "saturated": 6,
}


def test_published_bits_stay_and_new_flags_follow_them() -> None:
    bits = {str(flag): flag.bit for flag in Flag}
    assert bits | PUBLISHED == bits
    assert sorted(bits.values()) == list(range(len(bits)))


@pytest.mark.parametrize("flag", Flag)
def test_every_flag_is_explained(flag: Flag) -> None:
    assert REASONS[flag].code == flag


@given(st.sets(st.sampled_from(Flag)))
def test_a_bitmap_tells_its_flags(flags: set[Flag]) -> None:
    assert set(flags_of(flag_bits(flags))) == flags


def test_bits_of_a_later_release_have_no_name_here() -> None:
    assert flags_of(1 << 31 | 0b100010) == (Flag.HISTORY_SHORT, Flag.UNPRICED)
    assert flag_bits([Flag.UNPRICED, Flag.HISTORY_SHORT, Flag.UNPRICED]) == 0b100010
