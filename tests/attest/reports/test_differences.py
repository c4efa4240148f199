"""Where two reports differ: the first account, then the first row; what others say of it is proved or marked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from attest.agreement.catch_up import pack_items
from attest.encoding.merkle import build_tree
from attest.formats.header import ReportHeader, report_hash
from attest.formats.leaf import AccountLeaf, encode_leaf, leaf_hash
from attest.reports.differences import (
    LONGEST_TEXT,
    CertifiedLeaves,
    first_different_account,
    first_different_row,
)
from attest.reports.leaves import positions_commitment
from attest.wire.messages import Answer, Part, ReportReference
from riskschema.errors import ProtocolViolation
from riskschema.instruments import Token
from riskschema.portfolio import CollateralTerm, Portfolio, Position, Silo, Unread, WeightedCollateral
from riskschema.units import WAD, Address, Amount, Wad
from tests.builders import reports

replace = msgspec.structs.replace
HOLDER = Address("0x" + "11" * 20)
VENUE = "pawn_shop:1:main"
DIGEST, ROUND = bytes(32), 5


def leaves(number: int) -> tuple[AccountLeaf, ...]:
    return tuple(reports.leaf(subject=index.to_bytes(32, "big"), score=index) for index in range(1, number + 1))


def header_of(certified: tuple[AccountLeaf, ...]) -> ReportHeader:
    root = build_tree([leaf_hash(leaf) for leaf in certified]).root
    return reports.header(accounts_root=root, account_count=len(certified))


def page(header: ReportHeader, items: tuple[AccountLeaf, ...], start: int = 0, total: int | None = None) -> Answer:
    reference = ReportReference(round=header.round, report_hash=report_hash(header))
    data = pack_items(map(encode_leaf, items))
    count = header.account_count if total is None else total
    return Answer(recipient=0, part=Part.LEAVES, reference=reference, start=start, total=count, data=data)


def test_leaves_come_in_pages_and_are_those_of_the_certified_root() -> None:
    certified = leaves(5)
    header = header_of(certified)
    download = CertifiedLeaves(header)
    assert download.take(page(header, certified[:3])) is None
    assert download.next_start == 3
    assert download.take(page(header, certified[3:], start=3)) == certified


@pytest.mark.parametrize(
    ("items", "total", "code"),
    [
        ((), None, "malformed"),
        (leaves(5), 6, "malformed"),
        (leaves(6), None, "malformed"),
        ((*leaves(4), reports.leaf(subject=bytes(31) + b"\5", score=999)), None, "forged"),
    ],
    ids=["nothing", "another total", "too many", "one changed"],
)
def test_leaves_that_are_not_the_reports_are_refused(
    items: tuple[AccountLeaf, ...], total: int | None, code: str
) -> None:
    header = header_of(leaves(5))
    with pytest.raises(ProtocolViolation) as caught:
        CertifiedLeaves(header).take(page(header, items, total=total))
    assert caught.value.code == code


def test_the_account_whose_positions_differ_is_named_before_those_that_follow_from_it() -> None:
    certified = leaves(4)
    own = (
        replace(certified[0], score=77),
        certified[1],
        replace(certified[2], positions_commitment=b"\7" * 32, equity=5),
        certified[3],
    )
    found = first_different_account(own, certified)
    assert found is not None
    assert (found.subject, found.place) == (Address("0x" + f"{3:040x}"), 2)
    assert set(found.fields) == {"positions_commitment", "equity"}
    assert first_different_account(certified, certified) is None


def test_an_account_that_one_report_lacks_is_named() -> None:
    missing = first_different_account(leaves(2), leaves(3))
    assert missing is not None
    assert (missing.own, missing.place, missing.fields) == (None, 2, ())
    extra = first_different_account(leaves(3), leaves(2))
    assert extra is not None
    assert (extra.certified, extra.place) == (None, None)


def portfolio(quantity: int = 10, *, silos: tuple[str, ...] = ("a",), price: int = WAD, **fields: Any) -> Portfolio:
    token = Token(chain_id=1, address=HOLDER, decimals=18, factor="ETH")
    rule = WeightedCollateral(numeraire="USD", terms=(CollateralTerm(weight=Wad(WAD // 2), price=Wad(price)),))
    return Portfolio(
        subject=HOLDER,
        silos=tuple(
            Silo(
                id=name,
                venue=VENUE,
                chain_id=1,
                account=HOLDER,
                health=None,
                rule=rule,
                positions=(Position(instrument=token, quantity=Amount(quantity)),),
            )
            for name in silos
        ),
        **fields,
    )


def row(own: Portfolio, other: Portfolio):
    leaf = reports.leaf(subject=bytes(32))
    committed = positions_commitment(DIGEST, ROUND, leaf.subject, other)
    certified = replace(leaf, positions_commitment=committed)
    return first_different_row(own, other, config_digest=DIGEST, round_number=ROUND, certified=certified)


def test_a_quantity_that_was_read_otherwise_is_named_and_proved() -> None:
    found = row(portfolio(11), portfolio(10))
    assert found is not None
    assert (found.venue, found.chain_id, found.own, found.certified, found.proved) == (VENUE, 1, "11", "10", True)
    assert str(HOLDER) in found.row


def test_a_silo_that_one_did_not_read_is_named() -> None:
    found = row(portfolio(silos=("a",)), portfolio(silos=("a", "b")))
    assert found is not None
    assert (found.row, found.own, found.certified) == ("b: silo", "not there", "there")


def test_what_the_leaf_does_not_commit_to_is_told_as_hearsay() -> None:
    found = row(portfolio(price=WAD), portfolio(price=WAD + 1))
    assert found is not None
    assert found.row == "a: rule"
    assert not found.proved
    assert found.own != found.certified
    assert max(len(found.own), len(found.certified)) <= LONGEST_TEXT
    gap = Unread(chain_id=1, venue=VENUE, market="", account=HOLDER, code="reverted", detail="x" * 500)
    unread = row(portfolio(), portfolio(unread=(gap,)))
    assert unread is not None
    assert (unread.row, unread.own) == ("unread", "[]")
    assert len(unread.certified) <= LONGEST_TEXT


def test_the_same_reading_differs_in_nothing() -> None:
    assert row(portfolio(), portfolio()) is None


def test_positions_that_the_certified_leaf_does_not_commit_to_are_refused() -> None:
    certified = reports.leaf(subject=bytes(32), positions_commitment=bytes(32))
    with pytest.raises(ProtocolViolation, match="not those of the leaf"):
        first_different_row(portfolio(), portfolio(11), config_digest=DIGEST, round_number=ROUND, certified=certified)
