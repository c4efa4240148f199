"""Why the margin is what it is: parts that add up to it exactly, and the prices at which silos are liquidated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from aggregator.asked_once import AskedOnce
from aggregator.exact.units import Coarseness
from aggregator.margin.add_ons import AddOn
from aggregator.rule_terms import LinearRule, RowInstrument, RuleRow
from aggregator.scenarios.factors import Legs, Listing, sides
from aggregator.valuation.money import usd_floor
from aggregator.valuation.pricing import assets_of, needed_factors, only_asset
from aggregator.valuation.rule_rows import own_factor
from riskschema.assessment import Contribution, ContributionKind, LiquidationPrice, Uncovered
from riskschema.instruments import Asset, FactorId
from riskschema.portfolio import USD, Silo, WeightedCollateral
from riskschema.units import WAD, Usd, Wad

KINDS: dict[str, ContributionKind] = {
    "fitted": "expected_shortfall",
    "toward_target": "expected_shortfall",
    "broken": "expected_shortfall",
    "grid": "grid",
    "delta_floor": "delta_floor",
    "long_run_floor": "long_run_floor",
}

Part = tuple[str | None, str | None, int]
"""Silo, factor, account value."""


def only_factor(instrument: RowInstrument, known: Listing) -> str | None:
    """Return the factor by which an instrument that follows exactly one asset is called: a pegged one's own."""
    names = {own_name(asset, known) for asset in assets_of(instrument)} - {USD}
    return names.pop() if len(names) == 1 else None


def own_name(asset: Asset | FactorId, known: Listing) -> FactorId:
    """Return what an asset is called in an explanation: its own factor where it has a peg, else what it follows."""
    legs = known.legs(asset)
    return legs.base if legs.peg is None else sides(legs.peg)[0]


def explain(
    *,
    initial_margin: Usd,
    member: str,
    decided: Iterable[Part],
    stressed: Iterable[Part],
    not_credited: int,
    coarse: Coarseness,
    add_ons: Sequence[AddOn],
) -> tuple[Contribution, ...]:
    """Return lines that sum to `initial_margin` exactly; what rounding left over is the last one.

    Args:
        initial_margin: What the lines explain.
        member: The deciding member of the base requirement.
        decided: Each position's part of it.
        stressed: Each position's part of the stress loss (expected shortfall only).
        not_credited: Unified minus net requirement, an account value: what netting all silos would save beyond the
            offsets that are credited.
        coarse: The account's coarseness.
        add_ons: Size add-ons per factor.
    """
    lines = _grouped(KINDS[member], decided, coarse) + _grouped("stress", stressed, coarse)
    lines.append(_line("hedge_not_credited", None, None, usd_floor(not_credited, coarse)))
    for item in add_ons:
        lines += [
            _line("liquidity", None, item.factor, item.liquidity),
            _line("concentration", None, item.factor, item.concentration),
            _line("oracle", None, item.factor, item.oracle),
        ]
    lines = [line for line in lines if line.amount]
    rest = initial_margin - sum(line.amount for line in lines)
    return (*lines, _line("rounding", None, None, Usd(rest))) if rest else tuple(lines)


class Missing(NamedTuple):
    """How much more than the equity is required, in 10^-8 dollars."""

    initial: int
    base: int
    """Without add-ons."""
    net: int
    """As if all silos were one."""


def uncovered(borrowed: Sequence[Silo], *, missing: Missing, member: str) -> Uncovered | None:
    """Return why more than the equity is required of an account that is hardly ever liquidated; none where less is.

    Args:
        borrowed: Those of its silos that a venue can liquidate.
        missing: By how much.
        member: The deciding member of the base requirement.
    """
    if missing.initial <= 0:
        return None
    if missing.base <= 0:
        return "size"
    if missing.net <= 0:
        return "hedges_apart"
    if any(_blind(silo) for silo in borrowed):
        return "blind_oracle"
    return "scenario" if member == "grid" else "rare_loss"


def _blind(silo: Silo) -> bool:
    """Tell whether the venue prices something, or what it quotes in, by what does not follow the market."""
    if not isinstance(silo.rule, WeightedCollateral):
        return False
    told = [term.oracle.kind for term in silo.rule.terms if term.oracle is not None]
    return any(kind != "market" for kind in (silo.rule.numeraire_oracle or "market", *told))


def _grouped(kind: ContributionKind, parts: Iterable[Part], coarse: Coarseness) -> list[Contribution]:
    sums: dict[tuple[str | None, str | None], int] = {}
    for silo, factor, amount in parts:
        sums[silo, factor] = sums.get((silo, factor), 0) + amount
    return [_line(kind, silo, factor, usd_floor(amount, coarse)) for (silo, factor), amount in sums.items()]


def _line(kind: ContributionKind, silo: str | None, factor: str | None, amount: Usd) -> Contribution:
    return Contribution(kind=kind, silo=silo, factor=factor, amount=amount)


class Seen(NamedTuple):
    """The factors that a venue's oracle sees move in a row."""

    straight: tuple[FactorId, ...]
    """The value is a multiple of their product."""
    bent: tuple[FactorId, ...]
    """Of an option or a pool share."""


SeenRows = AskedOnce[RuleRow, Seen]


def seen_rows(known: Listing) -> SeenRows:
    """Return what is seen in each row, given the factor list of `known`."""
    return AskedOnce(lambda row: _seen(row, known))


def liquidation_prices(
    rule: LinearRule, values: Sequence[int], seen: SeenRows, known: Listing, ranges: Mapping[str, float]
) -> tuple[LiquidationPrice, ...]:
    """Return, per factor, the price at which the rule's sum reaches zero, all other prices unchanged.

    The sum is linear in each price, also where the venue prices in another factor (the numeraire divides every term
    alike). Factors of options and of pool shares are left out: their terms are not linear. A peg's price is its ratio,
    and only oracles that see it have one.

    Args:
        rule: The silo's rule.
        values: Each term's weighted value now, in one unit.
        seen: What the venue's oracle sees in the rule's rows.
        known: The factor list and the agreed prices.
        ranges: Range R per factor: what counts as within reach.
    """
    exposures: dict[str, int] = {}
    bent: set[str] = set()
    for term, value in zip(rule.terms, values, strict=True):
        straight, others = seen[term.row]
        bent.update(others)
        for name in straight:
            exposures[name] = exposures.get(name, 0) + value
    surplus = sum(values)
    found = []
    for factor, exposure in sorted(exposures.items()):
        rest = exposure - surplus
        if factor in bent or exposure == 0 or rest * exposure <= 0:
            continue
        now = known.price(factor)
        price = Wad(now * rest // exposure)
        found.append(_liquidation_price(factor, price, now, exposure > 0, ranges[factor]))
    return tuple(found)


def _seen(row: RuleRow, known: Listing) -> Seen:
    asset = only_asset(row.instrument)
    if asset is None:
        return Seen((), needed_factors(row.instrument, known))
    legs, kind = known.legs(asset), row.kind
    if row.price is not None and own_factor(row.instrument) == row.numeraire:
        kind = row.numeraire_oracle
    if kind == "market":
        return Seen(legs.moving, ())
    return Seen(() if kind == "fixed" else Legs(legs.base, None).moving, ())


def _liquidation_price(factor: str, price: Wad, now: Wad, held: bool, reach: float) -> LiquidationPrice:
    """Return a price with how far it is; what is held is hurt by a fall, what is owed by a rise."""
    distance = (price - now) * WAD // now
    return LiquidationPrice(
        factor=factor,
        price=price,
        direction="fall" if held else "rise",
        distance=Wad(distance),
        within_reach=(-distance if held else distance) <= int(reach * WAD),
    )
