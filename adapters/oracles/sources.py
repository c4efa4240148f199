"""What the contracts behind a price are: feeds, exchange rates, caps and constants, as factors of one product.

Recognised by what they answer, never by their address:

- feeds that keep rounds (``latestRoundData``): Chainlink's ``EACAggregatorProxy`` and whatever has its interface;
- Aave's price caps (aave-capo: ``PriceCapAdapterBase``, ``PriceCapAdapterStable``, ``EURPriceCapAdapterStable``,
  ``PendlePriceCapAdapter``) and its ``FixedPriceAdapter``, ``GhoOracle`` and ``RepFixedPriceAdapter``;
- pairs and exchange rates (cl-synchronicity-price-adapter: ``CLSynchronicityPriceAdapterPegToBase``,
  ``WstETHSynchronicityPriceAdapter``).

All of them are other people's contracts: one that reverts, loops or answers nonsense is an unknown source and nothing
else. At most `LARGEST_DEPTH` of them stand behind one another, two beside each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Literal

import msgspec

from adapters.abi import Answer, ContractRefusal, Function, Question, ask, printable
from riskschema.ports import PinnedReader
from riskschema.units import ZERO_ADDRESS, Address

LARGEST_DEPTH = 3
STRANGERS_GAS = 400_000
"""Gas of a question to a contract that anyone could have put behind an oracle: a feed takes a tenth of it."""

LegKind = Literal["market", "rate", "fixed"]

_PAIR = re.compile(r"\s*([\w.+$-]{1,32})\s*/\s*([\w.+$-]{1,32})\s*")
_RATE_WORDS = ("exchange rate", "fundamental")
"""What descriptions of feeds say that publish a contract's index instead of a market price (Chainlink, RedStone)."""


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """One factor of a price."""

    kind: LegKind
    of: str = ""
    """What it prices, in capitals; empty: it does not say."""
    per: str = ""
    """In what; likewise."""
    updated: int = 0
    """Unix seconds of its last answer; 0: it does not say."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A price as a product, from the asset to what it is priced in."""

    legs: tuple[Leg, ...]
    capped: bool = False
    """A rate among them may not grow too fast."""

    def times(self, other: Source) -> Source:
        """Return the product with what comes after."""
        return Source(legs=self.legs + other.legs, capped=self.capped or other.capped)


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of contract: what it answers, and what that makes of its price."""

    feeds: tuple[str, ...] = ()
    """Functions that name the contracts that its price is a product of."""
    marks: tuple[str, ...] = ()
    """Further functions that all contracts of the form answer."""
    before: tuple[Leg, ...] = ()
    """What comes before the feeds."""
    capped: bool = False


_RATE, _FIXED = Leg(kind="rate"), Leg(kind="fixed")
_BASE, _ASSET, _ETHER, _PEG = (
    ("BASE_TO_USD_AGGREGATOR()",),
    ("ASSET_TO_USD_AGGREGATOR()",),
    ("ETH_TO_BASE()",),
    ("ASSET_TO_PEG()", "PEG_TO_BASE()"),
)
FORMS = (
    Form(feeds=_BASE, marks=("getSnapshotRatio()",), before=(_RATE,), capped=True),
    Form(feeds=_ASSET, marks=("MAX_DISCOUNT_RATE_PER_YEAR()",), before=(_RATE,)),
    Form(feeds=_ASSET, marks=("getPriceCap()",)),
    Form(feeds=_ASSET, marks=("getPriceCapRatio()",)),
    Form(feeds=_ETHER, marks=("STETH()",), before=(_RATE,)),
    Form(feeds=_PEG),
    Form(marks=("price()", "ACL_MANAGER()", "DECIMALS()"), before=(_FIXED,)),
    Form(marks=("GHO_PRICE()",), before=(_FIXED,)),
    Form(marks=("PRICE()",), before=(_FIXED,)),
)
"""The first that fits counts."""
_FEEDS = dict.fromkeys(feed for form in FORMS for feed in form.feeds)


class _Composite(msgspec.Struct, frozen=True):
    """A contract whose price is made of others'."""

    form: Form
    feeds: tuple[Address, ...]


async def read_sources(reader: PinnedReader, addresses: Iterable[Address], *, gas: int) -> dict[Address, Source]:
    """Return what contracts are that answer a price; what is not recognised is left out.

    Args:
        reader: At the pinned block.
        addresses: Of the contracts.
        gas: Of one question.

    Raises:
        TransientError: the endpoint failed.
    """
    roots = [address for address in dict.fromkeys(addresses) if address != ZERO_ADDRESS]
    found: dict[Address, Leg | _Composite | None] = {}
    level: Sequence[Address] = roots
    for _ in range(LARGEST_DEPTH):
        found |= await _recognised(reader, level, gas)
        inner = (feed for each in level if isinstance(at := found[each], _Composite) for feed in at.feeds)
        level = [feed for feed in dict.fromkeys(inner) if feed not in found]
    sources = {root: _product(root, found, LARGEST_DEPTH) for root in roots}
    return {root: source for root, source in sources.items() if source is not None}


def _product(address: Address, found: Mapping[Address, Leg | _Composite | None], depth: int) -> Source | None:
    """Return a contract's price as a product of what was recognised; None where a part of it was not."""
    here = found.get(address)
    if isinstance(here, Leg):
        return Source(legs=(here,))
    if here is None or not depth:
        return None
    result = Source(legs=here.form.before, capped=here.form.capped)
    for feed in here.feeds:
        part = _product(feed, found, depth - 1)
        if part is None:
            return None
        result = result.times(part)
    return result


async def _recognised(
    reader: PinnedReader, addresses: Sequence[Address], gas: int
) -> dict[Address, Leg | _Composite | None]:
    """Return what each contract is: a feed, a form of composite, or nothing known."""
    rounds, texts = (_words("latestRoundData()", 5, gas), _text(gas))
    answers = await ask(reader, [(function, each, ()) for function in (rounds, texts) for each in addresses])
    found: dict[Address, Leg | _Composite | None] = {}
    for address, answer, text in zip(addresses, answers, answers[len(addresses) :], strict=False):
        found[address] = None if isinstance(answer, ContractRefusal) else _feed(answer, text)
    others = [address for address, feed in found.items() if feed is None]
    named = await _answers(reader, {address: tuple(_FEEDS) for address in others}, gas)
    possible = {address: [form for form in FORMS if _fits(form.feeds, named[address])] for address in others}
    asked = {
        address: tuple(dict.fromkeys(mark for form in forms for mark in form.marks))
        for address, forms in possible.items()
    }
    marked = await _answers(reader, asked, gas)
    for address, forms in possible.items():
        form = next((form for form in forms if all(mark in marked[address] for mark in form.marks)), None)
        if form is not None:
            feeds = tuple(Address(f"0x{named[address][feed]:040x}") for feed in form.feeds)
            found[address] = _Composite(form, feeds)
    return found


def _fits(feeds: tuple[str, ...], named: Mapping[str, int]) -> bool:
    """Tell whether a contract names a form's feeds; without feeds: names none at all."""
    return all(feed in named for feed in feeds) if feeds else not named


async def _answers(
    reader: PinnedReader, asked: Mapping[Address, Sequence[str]], gas: int
) -> dict[Address, dict[str, int]]:
    """Return the word that each contract answers to each function; without those that it does not answer."""
    questions: list[Question] = [
        (_words(signature, 1, gas), address, ()) for address, signatures in asked.items() for signature in signatures
    ]
    answers = await ask(reader, questions) if questions else []
    found: dict[Address, dict[str, int]] = {address: {} for address in asked}
    for (function, address, _), answer in zip(questions, answers, strict=True):
        if not isinstance(answer, ContractRefusal) and (function.signature not in _FEEDS or answer[0] < 2**160):
            found[address][function.signature] = answer[0]
    return found


def _feed(rounds: tuple[int, ...], text: Answer) -> Leg:
    """Return what a contract with rounds is; one that computes its answer when asked has no round."""
    number, _, _, updated, _ = rounds
    said = "" if isinstance(text, ContractRefusal) else printable(str(text[0]))
    if any(word in said.lower() for word in _RATE_WORDS):
        return _RATE
    pair = _PAIR.fullmatch(said)
    of, per = (name.upper() for name in pair.groups()) if pair else ("", "")
    return Leg(kind="market", of=of, per=per, updated=updated if number and updated < 2**48 else 0)


@cache
def _words(signature: str, count: int, gas: int) -> Function:
    return Function(signature, f"({','.join(['uint256'] * count)})", gas=gas)


@cache
def _text(gas: int) -> Function:
    return Function("description()", "(string)", gas=gas)
