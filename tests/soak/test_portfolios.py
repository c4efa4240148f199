"""Ten thousand random portfolios against a second implementation that has nothing but the published arrays."""

from __future__ import annotations

from fractions import Fraction

import msgspec
import numpy as np
import pytest

from aggregator.assess import AssessmentBatch, assess, measure
from aggregator.parameters import Parameters, load_parameters
from riskschema.assessment import Assessment
from riskschema.portfolio import Portfolio
from tests.soak.plain_margin import Margin, PlainMargin, add_ons, integers, parameters
from tests.soak.random_book import RandomBook, multiplied
from tests.soak.rows import Tally

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3_600)]

MARKETS = 200
PORTFOLIOS = 50
HISTORIES_EVERY = 4
HOURS = 1_400
CENT_MILLIONTH = Fraction(1, 10**8)
"""The last digit of a dollar amount."""
UNITS_PER_SILO = 4
"""Units of 2^(account exponent - 29) dollars: what the engine's roundings (each by one unit) add up to at most."""
ADD_ON_PRECISION = 1e-9


@pytest.fixture(scope="module")
def few_blocks() -> list[Parameters]:
    """The parameters with few enough days for plain Python; with 150 and 250 the last of the tail counts in part."""
    chosen = load_parameters()
    sizes = (100, 150, 250)
    return [
        msgspec.structs.replace(
            chosen,
            paths=msgspec.structs.replace(chosen.paths, maximum_blocks=blocks, minimum_history_hours=1_000),
        )
        for blocks in sizes
    ]


class Comparison:
    """What the engine says of one account beside what the second implementation says."""

    def __init__(self, batch: AssessmentBatch, index: int, plain: Margin) -> None:
        self.found: Assessment = batch.assessments[index]
        self.plain = plain
        self.factors = batch.arrays.factors
        self.model = parameters()
        self.slack = UNITS_PER_SILO * (len(plain.silo_bases) + 1) * plain.unit + 2 * CENT_MILLIONTH

    def check(self) -> None:
        """Demand that every figure is the same, to the stated rounding."""
        found, plain = self.found, self.plain
        whole = self._added(*plain.silo_gross)
        self._same("worst grid loss", found.worst_grid_loss, plain.worst_grid_loss)
        self._same("siloed margin", found.siloed_margin, plain.siloed, whole)
        self._same("unified margin", found.initial_margin, plain.unified, whole)
        self._same("net margin", found.net_margin, min(plain.net, plain.unified), whole)
        for silo, base, gross in zip(found.silos, plain.silo_bases, plain.silo_gross, strict=True):
            self._same(f"margin of {silo.id}", silo.initial_margin, base, self._added(gross))
        # half a unit of each lot's mantissa (2^-54 of an account's lots), a lot per position, and their last digits
        apart = abs(Fraction(found.equity, 10**8) - plain.array_equity)
        stated = plain.lots * plain.unit / 2**25 + plain.positions * plain.unit * 8
        assert apart <= stated + (plain.positions + 1) * CENT_MILLIONTH, (found.equity, float(plain.array_equity))
        assert found.siloed_margin >= found.initial_margin >= found.net_margin >= 0
        assert sum(line.amount for line in found.explanation) == found.initial_margin

    def _added(self, *grosses: dict[int, Fraction]) -> tuple[float, float]:
        """Return the add-ons, and what the rounding of the exposures may change of them."""
        sizes: dict[int, Fraction] = {}
        for gross in grosses:
            for place, size in gross.items():
                sizes[place] = sizes.get(place, Fraction(0)) + size
        added = add_ons(sizes, self.factors, self.model)
        larger = {place: size + self.slack for place, size in sizes.items()}
        return added, add_ons(larger, self.factors, self.model) - added + added * ADD_ON_PRECISION

    def _same(self, what: str, found: int, base: Fraction, added: tuple[float, float] = (0.0, 0.0)) -> None:
        expected = base + Fraction(added[0])
        allowed = self.slack + Fraction(added[1]) + 3 * len(self.factors) * CENT_MILLIONTH
        assert abs(Fraction(found, 10**8) - expected) <= allowed, f"{what}: {found / 1e8}, not {float(expected)}"


def drawn(seed: int, few_blocks: list[Parameters]) -> tuple[list[Portfolio], AssessmentBatch, RandomBook, Parameters]:
    book, chosen = RandomBook(seed), few_blocks[seed % len(few_blocks)]
    portfolios = [book.portfolio(number) for number in range(PORTFOLIOS)]
    market = book.market(hours=HOURS if seed % HISTORIES_EVERY == 0 else 0)
    return portfolios, assess(portfolios, market, chosen), book, chosen


def test_every_figure_is_recomputed_from_the_published_arrays(
    few_blocks: list[Parameters], scale: float, tally: Tally
) -> None:
    seeds = range(max(round(MARKETS * scale), 6))
    silos = touched = credited = 0
    for seed in seeds:
        _, batch, _, chosen = drawn(seed, few_blocks)
        plain = PlainMargin(batch.arrays, batch.positions)
        paths = measure(batch.positions, batch.arrays, chosen).touches.touched
        for index in range(PORTFOLIOS):
            margin = plain.account(index)
            try:
                Comparison(batch, index, margin).check()
                assert int(np.count_nonzero(paths[index])) == margin.touches
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, portfolio {index}: {error}") from error
            silos += len(margin.silo_bases)
            touched += margin.touches > 0
            credited += margin.unified < margin.siloed
    tally.seeds = f"0 to {seeds[-1]}"
    tally.count(markets=len(seeds), portfolios=len(seeds) * PORTFOLIOS, silos=silos)
    tally.count(with_touched_paths=touched, with_offsets=credited)
    assert touched > len(seeds)
    assert credited > len(seeds)


def test_a_portfolio_held_seven_times_needs_seven_times_the_margin(
    few_blocks: list[Parameters], scale: float, tally: Tally
) -> None:
    """Size add-ons aside, which grow faster, and dust aside, which counts only once it is large enough."""
    seeds, times, compared = range(max(round(MARKETS * scale / 4), 3)), 7, 0
    for seed in seeds:
        portfolios, _, book, chosen = drawn(seed, few_blocks)
        market = book.market()
        once = assess(portfolios, market, chosen)
        often = assess([multiplied(each, times) for each in portfolios], market, chosen)
        for index, (one, seven) in enumerate(zip(bases(once, chosen), bases(often, chosen), strict=True)):
            gross = one.gross
            assert abs(seven.equity - times * one.equity) <= gross / 2**20
            finest = (
                gross + one.siloed
            ) / 2**20  # an option far from the money is worth nothing now, and may cost much
            assert abs(seven.siloed - times * one.siloed) <= finest, f"seed {seed}, portfolio {index}"
            if seven.touched == one.touched:
                compared += 1
                assert abs(seven.unified - times * one.unified) <= finest, f"seed {seed}, portfolio {index}"
    tally.seeds = f"0 to {seeds[-1]}"
    tally.count(portfolios=len(seeds) * PORTFOLIOS, compared_unified=compared)
    assert compared > len(seeds) * PORTFOLIOS // 2


class Base(msgspec.Struct, frozen=True):
    """An account's base figures in dollars."""

    equity: Fraction
    siloed: Fraction
    unified: Fraction
    gross: Fraction
    touched: bytes


def _equity(batch: AssessmentBatch, silos: slice) -> int:
    """Return the account value of some silos now."""
    table, width = batch.positions, batch.arrays.market.mantissas.shape[1]
    first, last = (integers(table.silo_positions)[place] for place in (silos.start, silos.stop))
    now = integers(batch.arrays.market.mantissas)[::width]
    held = zip(integers(table.lots)[first:last], integers(table.rows)[first:last], strict=True)
    return sum(lots * now[row] for lots, row in held) >> 24


def bases(batch: AssessmentBatch, chosen: Parameters) -> list[Base]:
    """Return the margins before add-ons."""
    found = measure(batch.positions, batch.arrays, chosen)
    starts = integers(batch.positions.account_silos)
    result = []
    for index, exponent in enumerate(integers(batch.positions.account_coarseness)):
        unit = Fraction(2) ** (exponent - 29)
        silos = slice(*starts[index : index + 2])
        result.append(
            Base(
                equity=_equity(batch, silos) * unit,
                siloed=int(found.margins.siloed[index]) * unit,
                unified=int(found.margins.unified[index]) * unit,
                gross=int(found.margins.silo_gross[silos].sum()) * unit,
                touched=found.touches.touched[index].tobytes(),
            )
        )
    return result
