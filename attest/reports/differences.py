"""Where two reports of one round differ: first by account, then by row. For people only; nothing is decided by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from attest.agreement.catch_up import unpack_items
from attest.encoding.merkle import build_tree
from attest.formats.header import ReportHeader
from attest.formats.leaf import AccountLeaf, decode_leaf, leaf_hash
from attest.reports.leaves import positions_commitment
from attest.wire.messages import Answer
from riskschema.codec import encode_json
from riskschema.errors import InvalidData, ProtocolViolation
from riskschema.portfolio import Portfolio, Silo
from riskschema.units import Address

LONGEST_TEXT = 200
"""Of a value in an explanation, which may come from a stranger."""


class DifferentAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The first account of which two reports say something else."""

    subject: Address
    place: int | None
    """In the certified report; None: it is not there."""
    own: AccountLeaf | None
    """None: it is not in this node's report."""
    certified: AccountLeaf | None

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of what differs in the leaf; none where one report lacks it."""
        if self.own is None or self.certified is None:
            return ()
        names = AccountLeaf.__struct_fields__
        return tuple(name for name in names if getattr(self.own, name) != getattr(self.certified, name))


class DifferentRow(msgspec.Struct, frozen=True, kw_only=True):
    """The first row of an account that two operators read differently."""

    venue: str
    chain_id: int
    row: str
    """What it is: silo and instrument, or a part of the silo's rule."""
    own: str
    certified: str
    proved: bool
    """Whether the certified report commits to the other value; else it is only what its operator says."""


class CertifiedLeaves:
    """The leaves of a certified report, in pages of one peer, until they hash to the report's root."""

    def __init__(self, header: ReportHeader) -> None:
        """Begin with the header of a certificate that was verified."""
        self._header = header
        self._leaves: list[AccountLeaf] = []

    @property
    def next_start(self) -> int:
        """Where the next page begins, for the request."""
        return len(self._leaves)

    def take(self, answer: Answer) -> tuple[AccountLeaf, ...] | None:
        """Take the next page; return the leaves, by subject, once they are all there.

        Raises:
            ProtocolViolation: no page of this report, or its pages are not what the report commits to.
        """
        items = unpack_items(answer.data)
        if not items or answer.total != self._header.account_count:
            raise _refused(f"a page of {len(items)} leaves of {answer.total}", "malformed")
        if len(self._leaves) + len(items) > answer.total:
            raise _refused("more leaves than the report has accounts", "malformed")
        self._leaves += [_account_leaf(item) for item in items]
        if len(self._leaves) < answer.total:
            return None
        if build_tree([leaf_hash(leaf) for leaf in self._leaves]).root != self._header.accounts_root:
            raise _refused("leaves that are not those of the report", "forged")
        return tuple(self._leaves)


def first_different_account(own: Sequence[AccountLeaf], certified: Sequence[AccountLeaf]) -> DifferentAccount | None:
    """Return the account of the lowest subject of which two reports say something else; None: the same of all.

    Of accounts in both, those whose positions differ come first: from them the rest may follow.
    """
    mine = {leaf.subject: leaf for leaf in own}
    theirs = {leaf.subject: leaf for leaf in certified}
    places = {leaf.subject: place for place, leaf in enumerate(certified)}
    differing = [subject for subject in sorted(mine.keys() | theirs.keys()) if mine.get(subject) != theirs.get(subject)]
    if not differing:
        return None
    first = next((each for each in differing if _positions_differ(mine, theirs, each)), differing[0])
    return DifferentAccount(
        subject=Address("0x" + first[-20:].hex()),
        place=places.get(first),
        own=mine.get(first),
        certified=theirs.get(first),
    )


def first_different_row(
    own: Portfolio, other: Portfolio, *, config_digest: bytes, round_number: int, certified: AccountLeaf
) -> DifferentRow | None:
    """Return the first row that two operators read differently; None: they read the same.

    Args:
        own: What this node read.
        other: What another operator says that it read.
        config_digest: The committee's.
        round_number: The round.
        certified: The leaf that was certified, which commits to the positions.

    Raises:
        ProtocolViolation: the other's positions are not those that the leaf commits to.
    """
    commitment = positions_commitment(config_digest, round_number, certified.subject, other)
    if commitment != certified.positions_commitment:
        raise _refused("positions that are not those of the leaf", "forged")
    mine, theirs = ({silo.id: silo for silo in each.silos} for each in (own, other))
    for name in [*mine, *(each for each in theirs if each not in mine)]:
        found = _different_in_silo(mine.get(name), theirs.get(name))
        if found is not None:
            return found
    unread = {each.venue: each for each in (*own.unread, *other.unread)}
    for venue, gap in unread.items():
        texts = (_unread(own, venue), _unread(other, venue))
        if texts[0] != texts[1]:
            ours, others = _apart(*texts)
            return DifferentRow(
                venue=venue, chain_id=gap.chain_id, row="unread", own=ours, certified=others, proved=False
            )
    return None


def _different_in_silo(own: Silo | None, other: Silo | None) -> DifferentRow | None:
    known = own or other
    assert known is not None  # noqa: S101 - one of the two names it
    if own is None or other is None:
        return _row(known, "silo", "there" if own else "not there", "there" if other else "not there", proved=True)
    quantities = [{encode_json(each.instrument): each.quantity for each in silo.positions} for silo in (own, other)]
    for instrument in [*quantities[0], *(each for each in quantities[1] if each not in quantities[0])]:
        mine, theirs = (str(each.get(instrument, "not there")) for each in quantities)
        if mine != theirs:
            return _row(known, f"quantity of {instrument.decode()[:LONGEST_TEXT]}", mine, theirs, proved=True)
    for name in ("health", "rule", "cross_margin_group", "market"):
        mine, theirs = _text(getattr(own, name)), _text(getattr(other, name))
        if mine != theirs:
            return _row(known, name, mine, theirs, proved=False)
    return None


def _unread(portfolio: Portfolio, venue: str) -> str:
    return _text([each for each in portfolio.unread if each.venue == venue])


def _row(silo: Silo, row: str, own: str, certified: str, *, proved: bool) -> DifferentRow:
    mine, theirs = _apart(own, certified)
    name = f"{silo.id}: {row}"
    return DifferentRow(venue=silo.venue, chain_id=silo.chain_id, row=name, own=mine, certified=theirs, proved=proved)


def _apart(own: str, certified: str) -> tuple[str, str]:
    """Return two long texts from a little before the place where they differ."""
    pairs = enumerate(zip(own, certified, strict=False))
    same = next((place for place, (mine, theirs) in pairs if mine != theirs), min(len(own), len(certified)))
    start = max(same - LONGEST_TEXT // 4, 0) if max(len(own), len(certified)) > LONGEST_TEXT else 0
    return own[start : start + LONGEST_TEXT], certified[start : start + LONGEST_TEXT]


def _text(value: object) -> str:
    return encode_json(value).decode()


def _positions_differ(own: Mapping[bytes, AccountLeaf], certified: Mapping[bytes, AccountLeaf], subject: bytes) -> bool:
    if subject not in own or subject not in certified:
        return False
    return own[subject].positions_commitment != certified[subject].positions_commitment


def _account_leaf(item: bytes) -> AccountLeaf:
    try:
        leaf = decode_leaf(item)
    except InvalidData as error:
        raise _refused(error.message, "malformed") from error
    if not isinstance(leaf, AccountLeaf):
        raise _refused("a leaf of no account", "malformed")
    return leaf


def _refused(reason: str, code: str) -> ProtocolViolation:
    return ProtocolViolation(f"answer refused: {reason}", code=code)
