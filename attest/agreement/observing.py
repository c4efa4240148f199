"""How an honest operator words what it sees, so that others find it valid."""

from collections.abc import Iterable, Mapping

from attest.agreement.proposals import MAX_VALUE
from attest.agreement.rules import AgreementRules
from attest.formats.parameters import ChainParameters
from attest.wire.messages import HEADS_PER_CHAIN, FactorVote, Observation, ReportReference
from riskschema.market import FactorQuote
from riskschema.portfolio import BlockReference
from riskschema.units import Address, Wad

JUMP_PPM = 100_000
"""A move of a tenth since the node's own last value widens the confidence by the whole move."""


def block_numbers_to_name(head: int, chain: ChainParameters) -> tuple[int, ...]:
    """Return the last multiples of a chain's stride that are confirmed below a head, ascending."""
    confirmed = head - chain.confirmations
    newest = confirmed - confirmed % chain.pin_stride
    first = max(newest - (HEADS_PER_CHAIN - 1) * chain.pin_stride, 0)
    return tuple(range(first, newest + 1, chain.pin_stride))


def word_observation(
    rules: AgreementRules,
    *,
    clock_ms: int,
    heads: Iterable[BlockReference],
    quotes: Iterable[FactorQuote],
    recent: Mapping[str, Wad],
    highest_certified: ReportReference,
    requests: Iterable[Address] = (),
) -> tuple[Observation, tuple[str, ...]]:
    """Return the observation, and the factors whose value jumped.

    A jump is never withheld, or a crash would silence everyone: its confidence is widened to the move.

    Args:
        rules: The committee's.
        clock_ms: This operator's clock, Unix milliseconds.
        heads: Blocks at the numbers of `block_numbers_to_name`, of all chains that answered.
        quotes: Current quotes of this operator's sources; one outside the range of the formats, or of a
            factor that is not agreed on, is left out.
        recent: This operator's own last values.
        highest_certified: From the `Observe` effect.
        requests: Accounts asked for; the first ones in order of address, up to the committee's cap.
    """
    votes, jumped = [], []
    for quote in sorted(quotes, key=lambda each: each.factor):
        widest = quote.price * max(rules.parameters.max_confidence_ppm, 1) // 1_000_000
        if quote.price > MAX_VALUE or widest < 1 or not rules.agrees_on(quote.factor):
            continue
        confidence = int(quote.confidence)
        move = abs(quote.price - recent.get(quote.factor, quote.price))
        if move * 1_000_000 > quote.price * JUMP_PPM:
            confidence = max(confidence, move)
            jumped.append(quote.factor)
        votes.append(
            FactorVote(factor=quote.factor, value=quote.price, confidence=Wad(max(min(confidence, widest), 1)))
        )
    observation = Observation(
        clock_ms=clock_ms,
        heads=tuple(sorted(heads, key=lambda head: (head.chain_id, head.number))),
        votes=tuple(votes),
        highest_certified=highest_certified,
        requests=tuple(sorted(set(requests))[: rules.committee.requests_per_operator]),
    )
    return observation, tuple(jumped)
