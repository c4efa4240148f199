"""Rule rows: what a venue's own oracle says an instrument is worth, now and along the paths."""

from __future__ import annotations

import json
from typing import get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.parameter_tables import Oracles
from aggregator.rule_terms import RowInstrument, RuleRow
from aggregator.valuation.oracles import Feed, answers
from aggregator.valuation.pricing import Pricer, UnitValues, decimals, only_asset, unit_values
from riskschema.codec import encode_json
from riskschema.instruments import Asset, FactorId, WrappedToken
from riskschema.market import UNNAMED_GROUP
from riskschema.portfolio import USD, OracleKind, VenueOracle
from riskschema.units import WAD

Floats = NDArray[np.float64]

KINDS: tuple[OracleKind, ...] = get_args(OracleKind)


def market_key(instrument: RowInstrument) -> str:
    """Return the canonical JSON that names a market row."""
    return encode_json(instrument).decode()


def rule_key(row: RuleRow) -> str:
    """Return the canonical JSON that names a rule row; of an oracle that nobody described it says nothing."""
    price = "null" if row.price is None else f'"{row.price.wire()}"'
    named = f'"instrument":{market_key(row.instrument)},"numeraire":{json.dumps(row.numeraire)},"price":{price}'
    if row.oracle is not None:
        named += f',"oracle":{encode_json(row.oracle).decode()}'
    if row.numeraire_oracle != "market":
        named += f',"numeraire_oracle":"{row.numeraire_oracle}"'
    return f"{{{named}}}"


def own_factor(instrument: RowInstrument) -> FactorId | None:
    """Return the name of the factor whose price an instrument's value is a multiple of."""
    asset = only_asset(instrument)
    return asset if asset is None or isinstance(asset, str) else asset.factor


class RulePricer:
    """Values rule rows; `market` prices the same columns."""

    def __init__(self, market: Pricer, usual: Oracles) -> None:
        self._known = market.known
        self._usual = usual
        self._eyes: dict[OracleKind, Pricer] = {kind: msgspec.structs.replace(market, sees=kind) for kind in KINDS}

    def unit_values(self, row: RuleRow) -> UnitValues:
        """Return what a venue sees of one base unit, in dollars at the numeraire's price now.

        It starts at the oracle's answer and follows the level of what the oracle sees, however far that is ahead. A
        position without an answer (a contract at its mark) follows the market at once.
        """
        market, asset = self._eyes["market"], only_asset(row.instrument)
        if row.price is None:
            found = unit_values(row.instrument, market)
            relative = found.values / market.ratio(row.numeraire)
            return UnitValues(values=relative, reference=found.reference, exposures=())
        answer = (row.price / WAD) * market.price(row.numeraire)
        if asset is None:
            values = unit_values(row.instrument, market).values / market.ratio(row.numeraire)
            moves = values / values[0] if values[0] else np.zeros(values.size)
        else:
            moves = self._moves(row, asset) * self._growth(row.instrument)
        one = answer / float(10 ** decimals(row.instrument))
        values = one * moves
        values[0] = one
        return UnitValues(values=values, reference=one, exposures=())

    def _growth(self, instrument: RowInstrument) -> Floats:
        """Return what interest makes of one unit, whatever its price does."""
        found = unit_values(instrument, self._eyes["fixed"]).values
        return np.asarray(found / found[0])

    def _moves(self, row: RuleRow, asset: Asset | FactorId) -> Floats:
        """Return the answers over the answer now."""
        oracle, answer = row.oracle or VenueOracle(), (row.price or 0) / WAD * self._numeraire_price(row)
        eyes = self._eyes[oracle.kind]
        if not answer or oracle.kind == "fixed" or own_factor(row.instrument) == row.numeraire:
            return np.ones(eyes.columns.count)  # a debt in the loan asset is one of it, whoever sees what
        legs = self._known.legs(asset)
        fed = legs.base if legs.base != USD else legs.peg
        quoted = eyes.product([leg for leg in eyes.seen(asset) if leg == fed], eyes.columns.ratios)
        rest = eyes.product([leg for leg in eyes.seen(asset) if leg != fed], eyes.columns.ratios)
        feed = self._feed(oracle, fed)
        level = self._level(asset, oracle, answer, feed)
        market = quoted / self._eyes[row.numeraire_oracle].ratio(row.numeraire)
        return answers(market, answer / level, feed) * rest * (level / answer)

    def _numeraire_price(self, row: RuleRow) -> float:
        """Return the dollars that the venue takes one of its numeraire for: at parity where it is blind to the peg.

        An answer in something that is off its peg unseen is not a lag of what it prices.
        """
        base, peg = self._known.legs(row.numeraire)
        worth, at_parity = self._known.worth(base), base == USD or self._known.at_parity(row.numeraire, base)
        if row.numeraire_oracle == "market" or peg is None or worth is None or not at_parity:
            return self._eyes["market"].price(row.numeraire)
        return worth.price / WAD

    def _level(self, asset: Asset | FactorId, oracle: VenueOracle, answer: float, feed: Feed) -> float:
        """Return what the oracle would say if it answered anew: the market price, or underlying x index.

        Where neither is known, or where no lag explains the difference, the answer is that level: structure stays.
        """
        known, name = self._known, asset if isinstance(asset, str) else asset.factor
        base, peg = known.legs(asset)
        if oracle.kind == "market" and (name in known.quoted or peg is None):
            return self._eyes["market"].price(asset)
        through = asset.underlying.factor if isinstance(asset, WrappedToken) else name
        worth = known.worth(base)
        if oracle.kind == "capped" or worth is None or not known.at_parity(through, base):
            return answer
        level = (worth.price / WAD) * (asset.index / WAD if isinstance(asset, WrappedToken) else 1.0)
        return level if abs(answer / level - 1.0) <= feed.deviation else answer

    def _feed(self, oracle: VenueOracle, fed: FactorId | None) -> Feed:
        """Return when an oracle answers anew; what nobody said is usual for the group of what it follows."""
        factor = self._known.factors.get(fed or "")
        group = factor.group if factor is not None else UNNAMED_GROUP
        usual = self._usual
        deviation = usual.deviation.of(group) if oracle.deviation is None else oracle.deviation / WAD
        heartbeat = int(usual.heartbeat.of(group)) if oracle.heartbeat is None else oracle.heartbeat
        return Feed(deviation, oracle.age, heartbeat)
