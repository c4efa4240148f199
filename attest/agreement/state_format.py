"""The canonical bytes of the agreed state, and its root.

The state is a list of named sections; its root is a hash over their names and hashes, so that one section (the pins,
the hourly commitment) can be shown without the others. Nothing here grows with the age of the network.
"""

from collections.abc import Callable
from typing import TypeVar

from attest.agreement.outcome import AgreedValue, OnDemandAccount
from attest.agreement.state import AgreedState, Section
from attest.encoding.canonical_bytes import ByteReader, ByteWriter, check_increasing
from attest.encoding.keccak import keccak256
from attest.hours.hourly import (
    MAX_FACTORS,
    RECENT_HOURS,
    HourlyMemory,
    HourPrice,
    read_prices,
    read_row,
    write_price,
    write_row,
)
from attest.wire.message_format import read_address, read_block, write_address, write_block
from riskschema.errors import InvalidData
from riskschema.units import Wad

T = TypeVar("T")

VERSION = 1
MAX_STATE_BYTES = 16_777_216
MAX_SECTIONS = 64
MAX_ON_DEMAND = 100_000
ROOT_DOMAIN = keccak256(b"plimsoll state")
OWN_SECTIONS = ("agreement", "hours", "on_demand", "pins", "values")
"""Sections of the agreement itself; a section of another stage has its stage's name before a slash."""


def state_root(state: AgreedState) -> bytes:
    """Return keccak(domain ‖ count ‖ (name ‖ keccak(section))...), by name; 32 bytes.

    Raises:
        InvalidData: a list out of order, a number outside its type, or a section with a name of the agreement's.
    """
    writer = ByteWriter()
    writer.fixed(ROOT_DOMAIN, 32)
    writer.items(_sections(state), _write_section_hash)
    return keccak256(writer.finish())


def encode_state(state: AgreedState) -> bytes:
    """Return the canonical bytes: version, then every section by name.

    Raises:
        InvalidData: as `state_root`.
    """
    writer = ByteWriter()
    writer.uint(VERSION, 1)
    writer.items(_sections(state), _write_section)
    return writer.finish()


def decode_state(data: bytes) -> AgreedState:
    """Read what `encode_state` wrote, and nothing else.

    Raises:
        InvalidData: any other bytes, or more than 16 MiB.
    """
    if len(data) > MAX_STATE_BYTES:
        raise InvalidData(f"state: larger than {MAX_STATE_BYTES} bytes", code="document_too_large")
    reader = ByteReader(data, what="state")
    if reader.uint(1) != VERSION:
        raise reader.refused("unknown version")
    sections = reader.items(_read_section, at_most=MAX_SECTIONS)
    reader.finish()
    check_increasing((section.name for section in sections), what="state sections")
    by_name = {section.name: section.data for section in sections}
    if missing := set(OWN_SECTIONS) - by_name.keys():
        raise reader.refused(f"no section {min(missing)!r}")
    try:
        return _assemble(by_name)
    except ValueError as error:
        raise reader.refused(str(error)) from error


def _assemble(by_name: dict[str, bytes]) -> AgreedState:
    agreement = ByteReader(by_name["agreement"], what="state section agreement")
    config_digest, round_number = agreement.fixed(32), agreement.uint(8)
    parent, observed_at = agreement.fixed(32), agreement.uint(8)
    agreement.finish()
    state = AgreedState(
        config_digest=config_digest,
        round=round_number,
        parent=parent,
        observed_at=observed_at,
        values=_read_all(by_name, "values", lambda reader: reader.items(_read_value, at_most=MAX_FACTORS)),
        pins=_read_all(by_name, "pins", lambda reader: reader.items(read_block, at_most=MAX_SECTIONS)),
        on_demand=_read_all(by_name, "on_demand", lambda reader: reader.items(_read_on_demand, at_most=MAX_ON_DEMAND)),
        hours=_read_all(by_name, "hours", _read_hours),
        sections=tuple(
            Section(name=name, data=data) for name, data in sorted(by_name.items()) if name not in OWN_SECTIONS
        ),
    )
    _check_order(state)
    return state


def _read_all(by_name: dict[str, bytes], name: str, read: Callable[[ByteReader], T]) -> T:
    reader = ByteReader(by_name[name], what=f"state section {name}")
    value = read(reader)
    reader.finish()
    return value


def _sections(state: AgreedState) -> tuple[Section, ...]:
    _check_order(state)
    own = (
        _section("agreement", lambda writer: _write_agreement(writer, state)),
        _section("hours", lambda writer: _write_hours(writer, state.hours)),
        _section("on_demand", lambda writer: writer.items(state.on_demand, _write_on_demand)),
        _section("pins", lambda writer: writer.items(state.pins, write_block)),
        _section("values", lambda writer: writer.items(state.values, _write_value)),
    )
    everything = tuple(sorted((*own, *state.sections), key=lambda section: section.name))
    check_increasing((section.name for section in everything), what="state sections")
    return everything


def _section(name: str, write: Callable[[ByteWriter], None]) -> Section:
    writer = ByteWriter()
    write(writer)
    return Section(name=name, data=writer.finish())


def _check_order(state: AgreedState) -> None:
    check_increasing((value.factor for value in state.values), what="values")
    check_increasing((pin.chain_id for pin in state.pins), what="pins")
    check_increasing((account.address for account in state.on_demand), what="on-demand accounts")
    check_increasing((price.factor for price in state.hours.running), what="running prices")
    check_increasing((row.hour for row in state.hours.recent), what="recent hours")


def _write_agreement(writer: ByteWriter, state: AgreedState) -> None:
    writer.fixed(state.config_digest, 32)
    writer.uint(state.round, 8)
    writer.fixed(state.parent, 32)
    writer.uint(state.observed_at, 8)


def _write_hours(writer: ByteWriter, hours: HourlyMemory) -> None:
    writer.fixed(hours.root, 32)
    writer.uint(hours.count, 8)
    writer.uint(hours.open_hour, 8)
    writer.items(hours.running, write_price)
    writer.items(hours.recent, write_row)


def _read_hours(reader: ByteReader) -> HourlyMemory:
    root, count, open_hour = reader.fixed(32), reader.uint(8), reader.uint(8)
    running: tuple[HourPrice, ...] = read_prices(reader)
    recent = reader.items(read_row, at_most=RECENT_HOURS)
    return HourlyMemory(root=root, count=count, open_hour=open_hour, running=running, recent=recent)


def _write_value(writer: ByteWriter, value: AgreedValue) -> None:
    writer.text(value.factor)
    writer.uint(value.value, 16)
    writer.uint(value.confidence, 16)
    writer.uint(value.voted_at, 8)
    writer.uint(value.stale, 1)


def _read_value(reader: ByteReader) -> AgreedValue:
    factor, value, confidence = reader.text(), Wad(reader.uint(16)), Wad(reader.uint(16))
    return AgreedValue(factor=factor, value=value, confidence=confidence, voted_at=reader.uint(8), stale=reader.flag())


def _write_on_demand(writer: ByteWriter, account: OnDemandAccount) -> None:
    write_address(writer, account.address)
    writer.uint(account.operator, 1)
    writer.uint(account.last_round, 8)


def _read_on_demand(reader: ByteReader) -> OnDemandAccount:
    return OnDemandAccount(address=read_address(reader), operator=reader.uint(1), last_round=reader.uint(8))


def _write_section(writer: ByteWriter, section: Section) -> None:
    writer.text(section.name)
    writer.blob(section.data)


def _read_section(reader: ByteReader) -> Section:
    return Section(name=reader.text(), data=reader.blob())


def _write_section_hash(writer: ByteWriter, section: Section) -> None:
    writer.text(section.name)
    writer.fixed(keccak256(section.data), 32)
