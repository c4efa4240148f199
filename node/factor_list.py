"""The factor list of a node: the parameter file's, with what the settings add; and the group of every factor."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from aggregator.consistency import violations
from aggregator.parameters import Parameters
from node.settings import MarketSettings
from riskschema.errors import InvalidData
from riskschema.instruments import FactorId
from riskschema.market import Factor, Group


def with_own_factors(parameters: Parameters, market: MarketSettings) -> Parameters:
    """Return the parameters with the factors of the settings behind those of the file, by name.

    Raises:
        InvalidData: naming the field: a name or a stream that is taken, a peg to what is not listed.
    """
    names = {factor.name for factor in parameters.factors}
    streams = {factor.stream: factor.name for factor in parameters.factors}
    for index, factor in enumerate(market.factors):
        if factor.name in names:
            raise _invalid(f"market.factors[{index}].name", f"{factor.name} is listed already")
        if factor.stream in streams:
            raise _invalid(
                f"market.factors[{index}].stream",
                f"{factor.stream} is that of {streams[factor.stream]}: choose another",
            )
        names.add(factor.name)
        streams[factor.stream] = factor.name
    own = tuple(sorted(market.factors, key=lambda factor: factor.name))
    extended = msgspec.structs.replace(parameters, factors=(*parameters.factors, *own))
    broken = next(violations(extended), None) if own else None
    if broken is not None:
        raise _invalid("market", broken)
    return extended


def factor_groups(
    listed: Collection[Factor], market: MarketSettings, *, quoted: Collection[FactorId], agreed: Collection[FactorId]
) -> Mapping[FactorId, Group]:
    """Return the group of every factor that is listed or named in `market.groups`.

    Args:
        listed: The factor list.
        market: The settings.
        quoted: What the sources of the settings quote.
        agreed: The names that the committee agrees on; empty: any.

    Raises:
        InvalidData: naming the entry of `market.groups` that contradicts the list, or that nothing else knows.
    """
    groups: dict[FactorId, Group] = {factor.name: factor.group for factor in listed}
    for name, group in market.groups.items():
        field = f"market.groups.{name}"
        if groups.get(name, group) != group:
            raise _invalid(field, f"the factor list says {groups[name]}, not {group}")
        if name not in groups and name not in quoted:
            raise _invalid(field, "no source quotes it, and the factor list does not have it")
        if agreed and name not in agreed:
            raise _invalid(field, f"the committee does not agree on it, only on {', '.join(sorted(agreed))}")
    return groups | market.groups


class FactorFault(msgspec.Struct, frozen=True, kw_only=True):
    """Factors of which the settings do not fit the committee; the node runs all the same."""

    factors: tuple[FactorId, ...]
    said: str
    remedy: str


def factor_faults(
    listed: Collection[Factor], market: MarketSettings, *, quoted: Collection[FactorId], agreed: Collection[FactorId]
) -> tuple[FactorFault, ...]:
    """Hold what the committee agrees on against what this operator asks for, knows, and adds.

    Args:
        listed: The factor list, with what the settings add.
        market: The settings.
        quoted: What the sources of the settings quote.
        agreed: The names that the committee agrees on; empty: any.
    """
    known = {factor.name for factor in listed} | set(market.groups)
    own = {factor.name for factor in market.factors} if agreed else set()
    faults = (
        FactorFault(
            factors=without_source(agreed, quoted),
            said="no market source is asked for it, so that this node never votes on it",
            remedy="Add them to [[market.sources]]: until then the votes of the others decide.",
        ),
        FactorFault(
            factors=tuple(sorted(set(agreed) - known)),
            said="neither the factor list nor the settings say what it is",
            remedy="Ask the other operators for their [[market.factors]]: without them its reports are not theirs.",
        ),
        FactorFault(
            factors=tuple(sorted(own - set(agreed))),
            said="the settings add it, and the committee does not agree on it, so that it never has a price",
            remedy="Take them out of [[market.factors]], all operators together, or found a committee that has them.",
        ),
    )
    return tuple(fault for fault in faults if fault.factors)


def without_source(agreed: Collection[FactorId], quoted: Collection[FactorId]) -> tuple[FactorId, ...]:
    """Return the factors that the committee agrees on and no source of the settings is asked for, by name."""
    return tuple(sorted(set(agreed) - set(quoted)))


def _invalid(field: str, reason: str) -> InvalidData:
    return InvalidData(f"{field}: {reason}", code="invalid_settings")
