"""Build a round's risk arrays: every unique instrument valued once, in integers that all nodes share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.exact.buffers import column, view8, view32
from aggregator.exact.units import MANTISSA_LIMIT, USD_UNIT, LotExponent, in_mantissas, lot_exponent
from aggregator.parameters import Parameters
from aggregator.rule_terms import RowInstrument, RuleRow
from aggregator.scenarios.blocks import FactorBlocks, factor_blocks
from aggregator.scenarios.columns import HOURS, Columns, MarketColumns, alone_columns, build_columns, moves_alone
from aggregator.scenarios.factors import listing
from aggregator.scenarios.pegs import daily_noise
from aggregator.valuation.pricing import Pricer, UnitValues, needed_factors, unit_values
from aggregator.valuation.rule_rows import RulePricer, market_key, rule_key
from riskschema.arrays import FactorTerms, RiskArrays, RowTable
from riskschema.codec import encode_json
from riskschema.flags import Flag
from riskschema.market import FactorQuote, MarketState
from riskschema.portfolio import USD

Floats = NDArray[np.float64]

CALM_DEVIATIONS = 3.0
"""Standard deviations of a peg's calm noise within which no discount is seen."""
EXPOSURE_SLOTS = 4
"""Factors that one row may follow: a pool of two pegged assets has two underlyings and two pegs."""


def build_arrays(
    instruments: Iterable[RowInstrument], rules: Iterable[RuleRow], market: MarketState, parameters: Parameters
) -> RiskArrays:
    """Value every instrument and every rule row in every column.

    Args:
        instruments: What the accounts of the round hold; each factor quoted; duplicates are one row.
        rules: Rule rows likewise.
        market: The agreed market state.
        parameters: The parameter file.

    Returns:
        Arrays with rows sorted by key: the order of accounts and positions does not matter.
    """
    known = listing(market, parameters)
    held = dict(sorted((market_key(item), item) for item in set(instruments)))
    ruled = dict(sorted((rule_key(row), row) for row in set(rules)))
    names = {name for item in held.values() for name in needed_factors(item, known)}
    names |= {name for row in ruled.values() for name in needed_factors(row.instrument, known)}
    names |= {name for row in ruled.values() for name in known.legs(row.numeraire).moving}
    # Of all factors, held or not: what an account's columns are may not depend on who else is in the round.
    free = {known.legs(quote.factor).base for quote in market.quotes} - {USD}
    everything = factor_blocks(market, sorted(free | names), parameters)
    columns = build_columns(everything, names, parameters)
    factors = [item for item in everything if item.name in names]
    pricer = Pricer(known=known, columns=columns.market, as_of=market.as_of, grid=parameters.grid)
    values = [unit_values(item, pricer) for item in held.values()]
    market_rows, exponents = _row_table(tuple(held), values, columns.market.count)
    places = _places(values, {item.name: index for index, item in enumerate(factors)})
    exposures = _exposures(values, list(held.values()), exponents, pricer, _alone(factors, parameters))
    paths = msgspec.structs.replace(pricer, columns=columns.paths)
    rules_of = RulePricer(paths, parameters.oracles)
    rule_values = (rules_of.unit_values(row) for row in ruled.values())  # one at a time: a row is 600 kB
    quotes = {quote.factor: quote for quote in market.quotes}
    return RiskArrays(
        as_of=market.as_of,
        parameters_hash=str(parameters.hash),
        model_version=parameters.model_version,
        horizon_hours=parameters.horizon.hours,
        blocks=columns.blocks,
        hours_per_block=HOURS,
        grid=columns.grid,
        stress=columns.stress,
        factors=tuple(_terms(item, quotes.get(item.name), columns, parameters) for item in factors),
        market=market_rows,
        exposure_factors=column(places, "int32"),
        exposures=column(exposures, "int32"),
        rule=_row_table(tuple(ruled), rule_values, columns.paths.count)[0],
    )


def _row_table(keys: tuple[str, ...], values: Iterable[UnitValues], width: int) -> tuple[RowTable, list[LotExponent]]:
    """Quantise rows, each in the lot that suits its reference value."""
    mantissas = np.zeros((len(keys), width), dtype=np.int32)
    exponents: list[LotExponent] = []
    saturated = np.zeros(len(keys), dtype=np.int8)
    for index, item in enumerate(values):
        exponent = lot_exponent(item.reference)
        exponents.append(exponent)
        scaled = in_mantissas(item.values, exponent)
        saturated[index] = bool(np.any(np.abs(scaled) > MANTISSA_LIMIT))
        mantissas[index] = np.clip(scaled, -MANTISSA_LIMIT, MANTISSA_LIMIT).astype(np.int32)
    table = RowTable(
        keys=keys,
        lot_exponents=column(np.array(exponents, dtype=np.int32), "int32"),
        mantissas=column(mantissas, "int32"),
        saturated=column(saturated, "int8"),
    )
    return table, exponents


def _places(values: list[UnitValues], order: dict[str, int]) -> NDArray[np.int32]:
    places = np.full((len(values), EXPOSURE_SLOTS), -1, dtype=np.int32)
    for index, item in enumerate(values):
        places[index, : len(item.exposures)] = [order[name] for name, _ in item.exposures]
    return places


Alone = Callable[[tuple[str, ...]], Columns]
"""Columns in which each of the named factors moves alone."""


def _alone(factors: list[FactorBlocks], parameters: Parameters) -> Alone:
    named = {item.name: item for item in factors}
    return cache(lambda names: alone_columns([named[name] for name in names], parameters))


def _exposures(
    values: list[UnitValues],
    instruments: list[RowInstrument],
    exponents: list[LotExponent],
    pricer: Pricer,
    alone: Alone,
) -> NDArray[np.int32]:
    """Return the changes of each row: per unit of relative move of a factor, and when it alone moves by its range."""
    exposures = np.zeros((len(values), EXPOSURE_SLOTS, 3), dtype=np.int32)
    for index, (item, instrument, exponent) in enumerate(zip(values, instruments, exponents, strict=True)):
        names = tuple(name for name, _ in item.exposures)
        if names:
            moved = msgspec.structs.replace(pricer, columns=alone(names))
            found = unit_values(instrument, moved).values
            changes = (found[1:] - found[0]).reshape(-1, 2)
            each = np.column_stack([[value for _, value in item.exposures], changes])
            scaled = in_mantissas(each, exponent)
            exposures[index, : len(names)] = np.clip(scaled, -MANTISSA_LIMIT, MANTISSA_LIMIT).astype(np.int32)
    return exposures


def _terms(
    item: FactorBlocks, quote: FactorQuote | None, columns: MarketColumns, parameters: Parameters
) -> FactorTerms:
    start = 1 + len(columns.grid) + len(columns.stress)
    moves = columns.market.ratios[item.name][start : start + columns.blocks] - 1.0
    half_spread, impact, volume = _liquidity(item, parameters)
    if quote is not None and quote.hourly_volume is not None:
        volume = quote.hourly_volume / USD_UNIT
    return FactorTerms(
        factor=item.name,
        half_spread=half_spread,
        impact_per_usd=impact / 1e6,
        shortfall=max(
            expected_shortfall(-moves, parameters.shortfall.tail_percent),
            expected_shortfall(moves, parameters.shortfall.tail_percent),
        ),
        scenario_range=max(abs(move) for move in moves_alone(item, parameters)),
        hourly_volume=max(volume, parameters.liquidity.smallest_hourly_volume),
        confidence=quote.confidence / quote.price if quote is not None else 0.0,
        break_cost=_break_cost(item, moves, parameters),
        static_share=0.0 if _is_part(item) else parameters.static_margin.of(item.group),
        flags=tuple(sorted(item.flags | ({Flag.QUOTE_STALE} if quote is not None and quote.stale else set()))),
    )


def _break_cost(item: FactorBlocks, moves: Floats, parameters: Parameters) -> float:
    """Return the mean over blocks of a peg's fall beyond three standard deviations of its noise."""
    if item.peg is None:
        return 0.0
    falls = np.maximum(-moves - CALM_DEVIATIONS * daily_noise(item.level, item.peg, parameters), 0.0)
    return float(np.cumsum(falls)[-1]) / falls.size


def _is_part(item: FactorBlocks) -> bool:
    """Tell a peg beside an underlying, which the whole of the asset counts for already, from a dollar's."""
    return item.peg is not None and item.group != "stablecoin"


def _liquidity(item: FactorBlocks, parameters: Parameters) -> tuple[float, float, float]:
    """Return half-spread, relative impact per million dollars, and hourly volume in dollars."""
    if item.peg is not None and _is_part(item):
        peg = parameters.pegs.of(item.peg)
        return peg.half_spread, peg.impact_per_million, peg.hourly_volume
    liquidity = parameters.liquidity
    return (
        liquidity.half_spread.of(item.group),
        liquidity.impact_per_million.of(item.group),
        liquidity.hourly_volume.of(item.group),
    )


def expected_shortfall(losses: Floats, percent: int) -> float:
    """Return the mean of the worst `percent` % of losses, the last one counted in part (Rockafellar, Uryasev, 2000)."""
    ordered = np.sort(losses)[::-1]
    whole, rest = divmod(losses.size * percent, 100)
    total = 0.0
    for loss in ordered[:whole]:
        total += float(loss)
    if rest:
        total += float(ordered[whole]) * rest / 100.0
    return total / (losses.size * percent / 100.0)


def arrays_digest_chunks(arrays: RiskArrays) -> list[bytes]:
    """Return the canonical bytes of the arrays: the header, then one chunk per market row, then one per rule row.

    A chunk is what a Merkle leaf is made of, so two nodes that disagree can name the row.
    """
    header = msgspec.structs.replace(
        arrays,
        market=_without_rows(arrays.market),
        rule=_without_rows(arrays.rule),
        exposure_factors=column(np.zeros((0, EXPOSURE_SLOTS), dtype=np.int32), "int32"),
        exposures=column(np.zeros((0, EXPOSURE_SLOTS, 3), dtype=np.int32), "int32"),
    )
    places, exposures = view32(arrays.exposure_factors), view32(arrays.exposures)
    tails = [places[index].tobytes() + exposures[index].tobytes() for index in range(len(arrays.market.keys))]
    return [
        b"plimsoll/arrays/1\x00" + encode_json(header),
        *_row_chunks(b"market\x00", arrays.market, tails),
        *_row_chunks(b"rule\x00", arrays.rule, [b""] * len(arrays.rule.keys)),
    ]


def _without_rows(table: RowTable) -> RowTable:
    return RowTable(
        keys=(),
        lot_exponents=column(np.zeros(0, dtype=np.int32), "int32"),
        mantissas=column(np.zeros((0, table.mantissas.shape[1]), dtype=np.int32), "int32"),
        saturated=column(np.zeros(0, dtype=np.int8), "int8"),
    )


def _row_chunks(family: bytes, table: RowTable, tails: Sequence[bytes]) -> list[bytes]:
    exponents, mantissas, saturated = view32(table.lot_exponents), view32(table.mantissas), view8(table.saturated)
    return [
        family
        + key.encode()
        + b"\x00"
        + exponents[index].tobytes()
        + saturated[index].tobytes()
        + tails[index]
        + mantissas[index].tobytes()
        for index, key in enumerate(table.keys)
    ]
