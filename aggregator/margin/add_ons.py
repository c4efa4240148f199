"""What size costs: liquidity, concentration and oracle add-ons, and the static requirement, from gross exposures."""

from __future__ import annotations

import math

import msgspec

from aggregator.parameters import Parameters
from aggregator.valuation.money import usd_from_dollars
from riskschema.arrays import FactorTerms
from riskschema.units import Usd


class AddOn(msgspec.Struct, frozen=True, gc=False):
    """One factor's add-ons, each rounded up."""

    factor: str
    liquidity: Usd
    concentration: Usd
    oracle: Usd

    @property
    def total(self) -> int:
        """Return all three, in 10^-8 dollars."""
        return self.liquidity + self.concentration + self.oracle


def factor_add_on(gross: float, terms: FactorTerms, parameters: Parameters) -> AddOn:
    """Return the add-ons for unwinding `gross` dollars of one factor.

    liquidity = N·[half-spread + impact·N + ES·(√max(1, h/24) - 1)] with h = N/(participation·hourly volume) (Almgren,
    Chriss, 2000, for the holding time); concentration = k·N·max(0, N/open size - θ)^1.5; oracle = N·confidence.
    Liquidity and concentration together are at most N: getting out of a position costs no more than the position.

    Args:
        gross: Size of the exposure in dollars, not netted between silos.
        terms: The factor's market facts.
        parameters: The parameter file.
    """
    hours = gross / (parameters.liquidity.participation * terms.hourly_volume)
    longer = math.sqrt(max(1.0, hours / 24.0)) - 1.0
    unwinding = terms.half_spread + terms.impact_per_usd * gross + terms.shortfall * longer
    model = parameters.concentration
    excess = max(0.0, gross / (terms.hourly_volume * 24.0 * model.days_of_volume) - model.threshold)
    liquidity = gross * min(unwinding, 1.0)
    return AddOn(
        factor=terms.factor,
        liquidity=usd_from_dollars(liquidity),
        concentration=usd_from_dollars(min(model.factor * gross * excess * math.sqrt(excess), gross - liquidity)),
        oracle=usd_from_dollars(gross * terms.confidence),
    )
