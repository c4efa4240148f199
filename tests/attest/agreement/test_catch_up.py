"""What peers answer is believed only as far as a certificate proves it."""

from collections.abc import Callable

import msgspec
import pytest

from attest.agreement.catch_up import (
    StateDownload,
    check_hours,
    pack_items,
    read_hours,
    state_page,
    unpack_items,
)
from attest.agreement.state import AgreedState, genesis_state
from attest.agreement.state_format import encode_state
from attest.formats.certificate import Certificate
from attest.hours.hourly import HOUR, FreshPrice, HourlyMemory, HourPrice, HourRow, advance, encode_row
from attest.hours.table import genesis_memory
from attest.wire.messages import GENESIS_REFERENCE, PAGE_BYTES, Answer, Part
from riskschema.errors import ProtocolViolation
from tests.attest.agreement.round_kit import Operators, genesis_history, rules


def refused(code: str):
    return pytest.raises(ProtocolViolation, check=lambda error: error.code == code)


def certified() -> tuple[Certificate, AgreedState]:
    """A report whose state takes several pages."""
    operators = Operators(4)
    operators.sections = {"test/large": bytes(2 * PAGE_BYTES)}
    operators.slot(1)
    certificate = operators.certificates[0][1]
    state = operators.machines[0]._certified.state_after(StateDownload(certificate).reference)
    assert state is not None
    return certificate, state


CERTIFICATE, STATE = certified()
ENCODED = encode_state(STATE)


def page(download: StateDownload, encoded: bytes = ENCODED) -> Answer:
    start = download.next_start
    return Answer(
        recipient=0,
        part=Part.STATE,
        reference=download.reference,
        start=start,
        total=len(encoded),
        data=state_page(encoded, start),
    )


def test_a_state_comes_page_by_page() -> None:
    download = StateDownload(CERTIFICATE)
    got = [download.take(page(download)) for _ in range(len(ENCODED) // PAGE_BYTES + 1)]
    assert got == [None, None, STATE]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"start": 1}, "stale"),
        ({"part": Part.HOURS}, "stale"),
        ({"reference": GENESIS_REFERENCE}, "stale"),
        ({"data": b""}, "malformed"),
        ({"total": 10}, "malformed"),
        ({"total": 2**40}, "malformed"),
    ],
)
def test_a_page_that_was_not_asked_for_is_refused(change: dict[str, object], code: str) -> None:
    download = StateDownload(CERTIFICATE)
    with refused(code):
        download.take(msgspec.structs.replace(page(download), **change))


def flipped(encoded: bytes) -> bytes:
    return encoded[:-1] + bytes([encoded[-1] ^ 1])


def of_the_genesis(_: bytes) -> bytes:
    return encode_state(genesis_state(rules(4), genesis_history()))


@pytest.mark.parametrize(
    ("change", "code"), [(flipped, "forged"), (of_the_genesis, "forged"), (lambda _: b"noise", "malformed")]
)
def test_another_state_is_refused_at_the_end(change: Callable[[bytes], bytes], code: str) -> None:
    encoded = change(ENCODED)
    download = StateDownload(CERTIFICATE)
    with refused(code):
        while True:
            download.take(page(download, encoded))


def hours(count: int) -> tuple[list[HourRow], HourlyMemory]:
    memory = genesis_memory(genesis_history())
    rows: list[HourRow] = []
    for hour in range(count):
        prices = {factor: FreshPrice(price=1_000 + hour, fresh=True) for factor in ("BTC", "ETH")}
        memory = advance(memory, memory.open_hour + HOUR, prices)
        rows.append(memory.recent[-1])
    return rows, memory


def test_a_joiner_sixty_hours_after_the_genesis_gets_and_checks_all_hours() -> None:
    """The state carries the last 48 hours; the twelve before come from a peer."""
    rows, memory = hours(60)
    root = genesis_memory(genesis_history()).root
    older = read_hours(pack_items(encode_row(row) for row in rows[:12]))
    check_hours(root, (*older, *memory.recent), memory)
    changed = msgspec.structs.replace(
        older[3], prices=(HourPrice(factor="BTC", close=5, high=5, low=5, filled=False), older[3].prices[1])
    )
    for wrong in ((*older[:3], changed, *older[4:]), older[1:], older[:-1]):
        with refused("forged"):
            check_hours(root, (*wrong, *memory.recent), memory)


def test_a_page_holds_as_many_items_as_fit() -> None:
    items = [bytes([index]) * 100_000 for index in range(5)]
    assert unpack_items(pack_items(items)) == tuple(items[:2])
    assert unpack_items(pack_items([b"", b"x"])) == (b"", b"x")
    assert unpack_items(pack_items([bytes(PAGE_BYTES), b"x"])) == (b"", b"x"), "too large for any page"
    assert len(pack_items([bytes(1_000)] * 1_000)) <= PAGE_BYTES


@pytest.mark.parametrize("data", [b"\0", b"\0\0\0\5abc", pack_items([b"noise"])])
def test_noise_is_no_hours(data: bytes) -> None:
    with refused("malformed"):
        read_hours(data)
