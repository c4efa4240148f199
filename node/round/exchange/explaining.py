"""Why another report was certified: the leaves and one account's rows are asked of who signed it, and told to people.

Nothing is decided by what comes. Leaves hash to the certified root, positions to the leaf; one explanation is under way
at a time, and none begins within some slots of another, so that a node which disagrees for long asks for little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from attest.agreement.catch_up import pack_items, unpack_items
from attest.agreement.effects import Disagreement
from attest.agreement.state_format import decode_state
from attest.formats.leaf import AccountLeaf, decode_leaf
from attest.reports.differences import (
    DifferentAccount,
    DifferentRow,
    first_different_account,
    first_different_row,
)
from attest.wire.messages import Answer, ReportReference
from node.round.exchange.asking import ask
from node.round.exchange.explanations import Explanation
from node.round.node import Node
from riskschema.codec import decode_json
from riskschema.errors import InvalidData, ProtocolViolation
from riskschema.portfolio import Portfolio
from riskschema.units import Address

_log = structlog.get_logger("node.disagreement")


async def note_disagreement(node: Node, found: Disagreement) -> None:
    """Say in which fields of the header this node's report differs from the certified one; find out why."""
    names = found.computed.__struct_fields__
    fields = [name for name in names if getattr(found.computed, name) != getattr(found.certified, name)]
    node.peers.disagreed()
    _log.warning("another report was certified", round=found.computed.round, fields=fields)
    if "accounts_root" not in fields or not found.certified.account_count:
        return
    explanation = node.explanations.begin(found, node.machine.current_round)
    if explanation is not None:
        _ask(node, explanation)


def _ask(node: Node, explanation: Explanation) -> None:
    ask(node, explanation.peer, explanation.part, explanation.reference, explanation.start)


async def take_explanation(node: Node, sender: int, answer: Answer) -> None:
    """Use a page that was asked for; then ask for the next one, or say what differs.

    Raises:
        ProtocolViolation: it is not what the certified report commits to.
    """
    explanation = node.explanations.current
    if explanation is None or not explanation.awaits(sender, answer):
        return
    node.explanations.current = None  # what is refused below is asked of another at the next disagreement
    if explanation.account is None:
        leaves = explanation.leaves.take(answer)
        if leaves is not None:
            explanation.account = first_different_account(await _own_leaves(node, explanation), leaves)
            if explanation.account is None or not _has_rows(explanation.account):
                await _tell(node, explanation, None)
                return
        node.explanations.current = explanation
        _ask(node, explanation)
    else:
        await _tell(node, explanation, await _different_row(node, explanation, explanation.account, answer))


async def leaves_page(node: Node, reference: ReportReference, start: int) -> tuple[bytes, int]:
    """Return leaves of a report of this node's as one answer holds them, and how many there are."""
    leaves = await _leaves_of(node, reference)
    return (pack_items(leaves[start:]), len(leaves)) if start < len(leaves) else (b"", 0)


async def portfolio_page(node: Node, reference: ReportReference, start: int) -> tuple[bytes, int]:
    """Return what this node read of one account of a report, and how many accounts there are."""
    leaves = await _leaves_of(node, reference)
    if start >= len(leaves):
        return b"", 0
    leaf = decode_leaf(leaves[start])
    assert isinstance(leaf, AccountLeaf)  # noqa: S101 - its own store's
    account = await node.store.account(node.config_digest, reference.round, _subject(leaf))
    read = None if account is None else account.portfolio
    return (pack_items([read]), len(leaves)) if read is not None else (b"", 0)


async def _leaves_of(node: Node, reference: ReportReference) -> tuple[bytes, ...]:
    """Return the leaves of a report that this node worked out itself; none of another."""
    kept = node.explanations.kept_leaves(reference)
    if kept is not None:
        return kept
    report = await node.store.report(node.config_digest, reference.round)
    if report is None or report.report_hash.to_bytes() != reference.report_hash:
        return ()
    if not node.explanations.may_read(node.machine.current_round):
        return ()
    leaves = tuple(each.leaf for each in await node.store.accounts(node.config_digest, reference.round))
    node.explanations.keep_leaves(reference, leaves)
    return leaves


async def _own_leaves(node: Node, explanation: Explanation) -> Sequence[AccountLeaf]:
    kept = await node.store.accounts(node.config_digest, explanation.reference.round)
    return [leaf for each in kept if isinstance(leaf := decode_leaf(each.leaf), AccountLeaf)]


def _has_rows(account: DifferentAccount) -> bool:
    """Say whether there are rows to compare: both read it."""
    return account.own is not None and account.certified is not None


async def _different_row(
    node: Node, explanation: Explanation, account: DifferentAccount, answer: Answer
) -> DifferentRow | None:
    items = unpack_items(answer.data)
    own = await node.store.account(node.config_digest, explanation.reference.round, account.subject)
    if not items or own is None or own.portfolio is None or account.certified is None:
        return None
    try:
        other = decode_json(items[0], Portfolio, what="portfolio")
    except InvalidData as error:
        raise ProtocolViolation(f"answer refused: {error.message[:200]}", code="malformed") from error
    return first_different_row(
        decode_json(own.portfolio, Portfolio, what="portfolio"),
        other,
        config_digest=node.rules.config_digest,
        round_number=explanation.reference.round,
        certified=account.certified,
    )


async def _tell(node: Node, explanation: Explanation, row: DifferentRow | None) -> None:
    account, found = explanation.account, explanation.found
    if account is None:
        _log.warning("disagreement explained", round=found.computed.round, detail="the accounts are the same")
        return
    about: dict[str, Any] = {"round": found.computed.round, "account": account.subject, "fields": account.fields}
    if row is None:
        detail = "the same was read, and assessed otherwise"
        if not _has_rows(account):
            detail = "this account is in one of the two reports only"
        _log.warning("disagreement explained", **about, detail=detail)
        return
    _log.warning(
        "disagreement explained",
        **about,
        row=row.row,
        source=row.venue,
        block=await _block(node, explanation, row.chain_id),
        own=row.own,
        certified=row.certified,
        operator=explanation.peer,
        proved=row.proved,
    )


async def _block(node: Node, explanation: Explanation, chain_id: int) -> str:
    """Return the block at which both read."""
    report = await node.store.report(node.config_digest, explanation.reference.round)
    pins = () if report is None else decode_state(report.state).pins
    return next((f"{pin.number} {pin.hash}" for pin in pins if pin.chain_id == chain_id), "")


def _subject(leaf: AccountLeaf) -> Address:
    return Address("0x" + leaf.subject[-20:].hex())
