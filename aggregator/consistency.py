"""What the numbers of a parameter file must satisfy together, beyond the range of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from aggregator.exact.units import PER_MILLE, PER_MILLION, whole_parts
from riskschema.instruments import PEG_KINDS
from riskschema.market import GROUPS
from riskschema.portfolio import USD

if TYPE_CHECKING:  # the parameters check themselves when they are read
    from aggregator.parameters import ParameterValues

WHOLE_PARTS = {
    "shortfall.forecast_share": PER_MILLE,
    "shortfall.long_run_floor": PER_MILLE,
    "delta_floor.net": PER_MILLE,
    "delta_floor.hedged": PER_MILLE,
    "offsets.within_chain": PER_MILLE,
    "offsets.across_chains": PER_MILLE,
    "margin.maintenance_share": PER_MILLION,
}
"""Shares that kernels multiply by as integers, and the parts in which they count."""
CERTAIN = PER_MILLION
SUM_TOLERANCE = 1e-9
"""Weights are written with a few digits; their sum is off by no more than the rounding of doubles."""


def violations(values: ParameterValues) -> Iterator[str]:
    """Yield one sentence per rule that is broken, each beginning with the field's path."""
    yield from _factors(values)
    yield from _shares(values)
    yield from _grades(values)
    yield from _grid(values)
    yield from _pegs(values)
    yield from _volatilities(values)
    yield from _stress(values)


def _factors(values: ParameterValues) -> Iterator[str]:
    named = {factor.name: factor for factor in values.factors}
    if len(named) != len(values.factors):
        yield "factors: a name is there twice"
    if len({factor.stream for factor in values.factors}) != len(values.factors):
        yield "factors: two share a stream, so they would move as one"
    for factor in values.factors:
        below = named.get(factor.underlying or "")
        if factor.underlying not in (None, USD) and below is None:
            yield f"factors: {factor.name} is pegged to {factor.underlying}, which is not listed"
        if below is not None and factor.peg is not None and below.underlying is not None:
            yield f"factors: {factor.name} has a peg of its own to {below.name}, which has one too"
        if below is not None and factor.peg is None and below.peg is None:
            yield f"factors: {factor.name} is exchanged for {below.name}, which has no peg: give it one"


def _shares(values: ParameterValues) -> Iterator[str]:
    for path, scale in WHOLE_PARTS.items():
        share = attrgetter(path)(values)
        try:
            whole_parts(share, scale)
        except ValueError:
            yield f"{path}: {share} is no whole number of parts in {scale:,}, and nothing is rounded silently"
    if values.delta_floor.hedged > values.delta_floor.net:
        yield "delta_floor.hedged: more than delta_floor.net would make a hedge cost more than none"


def _grades(values: ParameterValues) -> Iterator[str]:
    model = values.probability
    bounds = [getattr(model.grades, name) for name in model.grades.__struct_fields__]
    if not _ascending(bounds):
        yield f"probability.grades: bounds must grow from A to C, got {bounds}"
    if model.grades.C != CERTAIN:
        yield f"probability.grades.C: must be {CERTAIN}, or a probability has no grade"
    if model.published_floor_ppm > model.grades.A:
        yield "probability.published_floor_ppm: above probability.grades.A: an A would show a worse grade's probability"
    if not model.grades.CCC < model.unfollowed_floor_ppm <= CERTAIN:
        yield "probability.unfollowed_floor_ppm: must lie above probability.grades.CCC: it stands for a C at best"


def _grid(values: ParameterValues) -> Iterator[str]:
    grid = values.grid
    for name in ("joint_moves", "tail_moves"):
        moves = getattr(grid, name)
        if len(set(moves)) != len(moves):
            yield f"grid.{name}: a move is there twice"
    if any(abs(move) > grid.joint_parts for move in grid.joint_moves):
        yield "grid.joint_moves: a move beyond grid.joint_parts leaves the range"
    if not grid.joint_moves:
        yield "grid.joint_moves: is empty"


def _pegs(values: ParameterValues) -> Iterator[str]:
    kinds = [crisis.kind for crisis in values.pegs.crises]
    for kind in PEG_KINDS:
        breaks = values.pegs.of(kind).breaks
        if len(set(breaks)) != len(breaks):
            yield f"pegs.{kind}.breaks: a move is there twice"
        if values.pegs.of(kind).usual_discount >= 1.0:
            yield f"pegs.{kind}.usual_discount: leaves no price"
        if kind not in kinds:
            yield f"pegs.crises: none is of kind {kind}"
    if len(set(values.oracles.wrong_answers)) != len(values.oracles.wrong_answers):
        yield "oracles.wrong_answers: a move is there twice"


def _volatilities(values: ParameterValues) -> Iterator[str]:
    for group in values.volatility.floor_annual.__struct_fields__:
        floor, default = values.volatility.floor_annual.of(group), values.volatility.default_annual.of(group)
        if floor > default:
            yield f"volatility.default_annual.{group}: below its floor"
    for group in GROUPS:
        weights = msgspec.structs.astuple(values.volatility.mixture.of(group))
        if abs(sum(weights) - 1.0) > SUM_TOLERANCE:
            yield f"volatility.mixture.{group}: weights sum to {sum(weights):g}, not 1"
        garch = values.volatility.garch.of(group)
        if garch.alpha + garch.gamma / 2.0 + garch.beta >= 1.0:
            yield f"volatility.garch.{group}: alpha + gamma/2 + beta is not below 1, so it never returns to its level"
        if sum(msgspec.structs.astuple(values.volatility.realised.of(group))) <= 0.0:
            yield f"volatility.realised.{group}: nothing weighs anything"
    for group in values.regime.thresholds.__struct_fields__:
        if not _ascending(getattr(values.regime.thresholds, group)):
            yield f"regime.thresholds.{group}: must grow from normal to stressed"


def _stress(values: ParameterValues) -> Iterator[str]:
    names = [crisis.name for crisis in values.stress.crises]
    if not names:
        yield "stress.crises: is empty"
    if len(set(names)) != len(names):
        yield "stress.crises: a name is there twice"


def _ascending(numbers: Sequence[float]) -> bool:
    return all(low < high for low, high in pairwise(numbers))
