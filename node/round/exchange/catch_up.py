"""Catching up: certificates, states and hours are asked of others, page by page, and verified before they are used.

Nobody who answers is believed: a state hashes to the root that a quorum signed, and hours hash to the state's own
commitment. What is asked of this node it answers from its store, so many pages a slot.
"""

from __future__ import annotations

from attest.agreement.catch_up import pack_items, read_hours, state_page
from attest.agreement.effects import CertificateNeeded, Effects, StateNeeded
from attest.agreement.state_format import decode_state
from attest.formats.certificate import decode_certificate
from attest.wire.messages import Answer, Part, ReportReference, Request
from node.gossip.transport import Channel
from node.round.exchange.asking import ask, sealed
from node.round.exchange.explaining import leaves_page, portfolio_page, take_explanation
from node.round.exchange.fetching import Fetch
from node.round.hourly_prices import encode_hours
from node.round.node import Node
from riskschema.rounds import StoredReport
from riskschema.units import Hash32


async def ask_for_certificate(node: Node, needed: CertificateNeeded) -> Effects:
    """Ask who names a certificate that is not known here."""
    ask(node, needed.peer, Part.CERTIFICATE, needed.reference, 0)
    return ()


async def ask_for_state(node: Node, needed: StateNeeded) -> Effects:
    """Take the state after a certified report from the store, or ask one of those who signed it."""
    kept = await _kept(node, needed.reference)
    if kept is not None:
        return node.machine.on_state(needed.reference, decode_state(kept.state))
    if needed.peers:
        fetch = node.catch_up.begin(decode_certificate(needed.certificate), needed.peers)
        ask(node, fetch.peer, Part.STATE, needed.reference, 0)
    return ()


async def take_answer(node: Node, sender: int, answer: Answer) -> Effects:
    """Use a page that was asked for; then ask for the next one, or let the machine go on from the whole.

    Raises:
        ProtocolViolation: it is not what the certificate or the state commits to; another peer is asked in time.
    """
    if answer.part is Part.CERTIFICATE and answer.total:
        return node.machine.on_certificate(answer.data)
    if answer.part in (Part.LEAVES, Part.PORTFOLIOS):
        await take_explanation(node, sender, answer)
        return ()
    fetch = node.catch_up.fetch
    if fetch is None or not fetch.awaits(sender, answer):
        return ()
    node.catch_up.fetch = None  # what is refused below, or not kept there, is asked of another in the next slot
    if fetch.state is None:
        fetch.state = fetch.download.take(answer)
    else:
        rows = read_hours(answer.data)
        if not rows or rows[0].hour != fetch.next_hour or not answer.total:
            return ()
        fetch.rows += rows
    return await _go_on(node, fetch)


async def answer_request(node: Node, sender: int, request: Request) -> None:
    """Tell another operator what it asks for, as far as it is kept here."""
    if not node.catch_up.may_answer(sender, node.machine.current_round):
        return
    data, total = await _page(node, request)
    answer = Answer(
        recipient=sender, part=request.part, reference=request.reference, start=request.start, total=total, data=data
    )
    node.transport.send(Channel.ANSWER, sealed(node, answer), to=sender)


async def _go_on(node: Node, fetch: Fetch) -> Effects:
    """Ask for the next page; with the last one of the state for its hours; then let the machine go on from it."""
    missing = None if fetch.state is None else node.hourly_prices.lacks(fetch.state.hours, fetch.rows)
    if fetch.state is None or missing is not None:
        fetch.next_hour = missing or 0
        node.catch_up.fetch = fetch
        ask(node, fetch.peer, fetch.part, fetch.download.reference, fetch.start)
        return ()
    rows = node.hourly_prices.learn(fetch.state.hours, fetch.rows)
    await node.store.put_hours(node.config_digest, encode_hours(rows))
    return node.machine.on_state(fetch.download.reference, fetch.state)


async def _page(node: Node, request: Request) -> tuple[bytes, int]:
    """Return a page of what is asked for, and where the last page ends; nothing and 0: not kept here."""
    if request.part is Part.HOURS:
        kept = await node.store.hours(node.config_digest)
        page = pack_items(each.row for each in kept if each.hour >= request.start)
        return page, kept[-1].hour + 1 if kept else 0
    if request.part is Part.PROPOSAL:
        messages = await node.store.messages(node.config_digest, request.reference.round)
        proposal = next((message.payload for message in messages if message.kind == "proposal"), b"")
        return proposal, len(proposal)
    if request.part is Part.LEAVES:
        return await leaves_page(node, request.reference, request.start)
    if request.part is Part.PORTFOLIOS:
        return await portfolio_page(node, request.reference, request.start)
    report = await _kept(node, request.reference)
    if report is None:
        return b"", 0
    whole = (report.certificate or b"") if request.part is Part.CERTIFICATE else report.state
    return state_page(whole, request.start), len(whole)


async def _kept(node: Node, reference: ReportReference) -> StoredReport | None:
    return await node.store.report_of(node.config_digest, reference.round, Hash32(reference.report_hash))
