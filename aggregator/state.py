"""What the model remembers between rounds: the agreed hourly table, its volatility recursion, and the regime.

state(r) = step(state(parent), outcome(r)), a pure function of agreed values. The table is the genesis history, which
the committee fixes once by its hash, plus the hours closed since; only these are in the state. Each closed hour extends
a hash chain, so that the state's commitment stays small however long the table grows.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from aggregator.blocks import logarithms
from aggregator.buffers import column, view64
from aggregator.kernels import log, power
from aggregator.parameters import Parameters, Regime
from aggregator.volatility import annual, hourly
from riskschema.buffers import Column
from riskschema.codec import decode_json, encode_json
from riskschema.errors import InvalidData
from riskschema.instruments import FactorId, Timestamp
from riskschema.market import HISTORY_PRICE_DECIMALS, FactorQuote, HourlyHistory
from riskschema.units import Hash32

HOUR = 3600
REGIMES: tuple[Literal["calm", "normal", "turbulent", "stressed"], ...] = ("calm", "normal", "turbulent", "stressed")
MAXIMUM_GAP_HOURS = 24 * 366
_WAD_PER_UNIT: int = 10 ** (18 - HISTORY_PRICE_DECIMALS)


class FactorMemory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One factor: its open hour and its recursion."""

    factor: FactorId
    high: int
    """Of the open hour so far, in history units (10^-12 USD)."""
    low: int
    last: int
    """The newest agreed price."""
    close: int
    """Close of the last closed hour."""
    variance: float
    """EWMA of squared hourly log returns, IEEE-exact."""
    regime: int
    """Place in REGIMES; 0 for assets without thresholds."""
    hours_below: int
    """Hours in a row below the level at which the regime is left."""


class MarketMemory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state of the market model after a round."""

    genesis: Hash32
    """`history_digest` of the genesis history."""
    as_of: Timestamp
    first_hour: Timestamp
    """Open of the first hour after genesis."""
    factors: tuple[FactorMemory, ...]
    hours_digest: Hash32
    """Hash chain over the closed hours."""
    filled_until: Timestamp
    """End of the newest filled hour; 0: none."""
    close: Column
    """int64 (closed hours, factors)."""
    high: Column
    low: Column

    @property
    def closed_hours(self) -> int:
        """Number of hours closed since genesis."""
        return int(self.close.shape[0])

    @property
    def open_hour(self) -> int:
        """Unix time at which the open hour began."""
        return self.first_hour + HOUR * self.closed_hours

    @property
    def regime(self) -> Literal["calm", "normal", "turbulent", "stressed"]:
        """The worst regime of the assets that make the market."""
        return REGIMES[max((item.regime for item in self.factors), default=0)]


def history_digest(history: HourlyHistory) -> Hash32:
    """Return the hash that names a genesis history."""
    return Hash32(hashlib.sha256(b"plimsoll/history/1\x00" + encode_json(history)).digest())


def empty_history(factors: Sequence[str], *, as_of: int, simulated: bool) -> HourlyHistory:
    """Return a history without hours, for a network that starts without one."""
    none = column(np.zeros((len(factors), 0), dtype=np.int64), "int64")
    start = as_of - as_of % HOUR
    return HourlyHistory(first_hour=start, factors=tuple(factors), close=none, high=none, low=none, simulated=simulated)


def genesis_memory(genesis: HourlyHistory, quotes: Sequence[FactorQuote], parameters: Parameters) -> MarketMemory:
    """Return the state before the first round.

    Args:
        genesis: The committee's history; its factors are those the table keeps.
        quotes: Current quotes: they give the groups, and the prices where the history has no hours.
        parameters: The parameter file.

    Raises:
        InvalidData: a factor of the history has no quote.
    """
    known = {quote.factor: quote for quote in quotes}
    missing = [name for name in genesis.factors if name not in known]
    if missing:
        raise InvalidData(f"the market has no quote of factor {missing[0]!r} of the history", code="factor_unknown")
    start = genesis.first_hour + HOUR * genesis.hours
    none = column(np.zeros((0, len(genesis.factors)), dtype=np.int64), "int64")
    name = history_digest(genesis)
    return MarketMemory(
        genesis=name,
        as_of=start,
        first_hour=start,
        factors=tuple(
            _initial(genesis, index, known[factor], parameters) for index, factor in enumerate(genesis.factors)
        ),
        hours_digest=name,
        filled_until=0,
        close=none,
        high=none,
        low=none,
    )


def _initial(genesis: HourlyHistory, index: int, quote: FactorQuote, parameters: Parameters) -> FactorMemory:
    model = parameters.volatility
    default = hourly(model.default_annual.of(quote.group))
    variance, price = default * default, history_price(quote)
    if genesis.hours:
        line = view64(genesis.close)[index]
        price = int(line[-1])
        logs = logarithms(line)
        weight = power(0.5, 1.0 / model.half_life_hours)
        for move in (logs[1:] - logs[:-1]).tolist():
            variance = weight * variance + (1.0 - weight) * move * move
    return FactorMemory(
        factor=quote.factor,
        high=price,
        low=price,
        last=price,
        close=price,
        variance=variance,
        regime=_level(variance, quote.group, parameters.regime),
        hours_below=0,
    )


def history_price(quote: FactorQuote) -> int:
    """Return a quote's price in history units, at least 1."""
    return max(int(quote.price) // _WAD_PER_UNIT, 1)


def step(parent: MarketMemory, *, as_of: int, quotes: Sequence[FactorQuote], parameters: Parameters) -> MarketMemory:
    """Return the state after a round.

    An hour's close is the first agreed price at or after its end. When rounds were missed, that price is also the first
    at or after the ends of the missing hours, so they get it too (their moves are zero and the first hour's move holds
    all of the gap); `filled_until` marks them. High and low are those of the hour's agreed prices and its close.

    Args:
        parent: State of the parent report.
        as_of: Agreed time of the round.
        quotes: Agreed quotes; a factor without one keeps its last price.
        parameters: The parameter file.

    Raises:
        InvalidData: time went back, or more than a year passed.
    """
    if as_of < parent.as_of:
        raise InvalidData(f"round at {as_of} is before its parent at {parent.as_of}", code="stale")
    ended = (as_of - parent.open_hour) // HOUR
    if ended > MAXIMUM_GAP_HOURS:
        raise InvalidData(f"{ended} hours since the parent: start from a new genesis", code="stale")
    known = {quote.factor: quote for quote in quotes}
    prices = [history_price(known[item.factor]) if item.factor in known else item.last for item in parent.factors]
    groups = [known[item.factor].group if item.factor in known else "other" for item in parent.factors]
    factors = [_see(item, price) for item, price in zip(parent.factors, prices, strict=True)]
    memory = msgspec.structs.replace(parent, as_of=as_of, factors=tuple(factors))
    for hour in range(max(ended, 0)):
        memory = _close_hour(memory, groups, parameters)
        if hour:
            memory = msgspec.structs.replace(memory, filled_until=memory.open_hour)
    return memory


def _see(item: FactorMemory, price: int) -> FactorMemory:
    return msgspec.structs.replace(item, high=max(item.high, price), low=min(item.low, price), last=price)


def _close_hour(memory: MarketMemory, groups: Sequence[str], parameters: Parameters) -> MarketMemory:
    factors = memory.factors
    record = np.array([[item.last, item.high, item.low] for item in factors], dtype="<i8")
    digest = hashlib.sha256(memory.hours_digest.to_bytes() + record.tobytes()).digest()
    closed = [_closed(item, group, parameters) for item, group in zip(factors, groups, strict=True)]
    return msgspec.structs.replace(
        memory,
        factors=tuple(closed),
        hours_digest=Hash32(digest),
        close=_append(memory.close, [item.last for item in factors]),
        high=_append(memory.high, [item.high for item in factors]),
        low=_append(memory.low, [item.low for item in factors]),
    )


def _append(stored: Column, line: list[int]) -> Column:
    rows, width = stored.shape
    added = np.array(line, dtype="<i8").tobytes()
    return Column(dtype="int64", shape=(rows + 1, width), data=stored.data + added)


def _closed(item: FactorMemory, group: str, parameters: Parameters) -> FactorMemory:
    weight = power(0.5, 1.0 / parameters.volatility.half_life_hours)
    move = log(item.last / item.close)
    variance = weight * item.variance + (1.0 - weight) * move * move
    level, below = _next_regime(item, variance, group, parameters.regime)
    return msgspec.structs.replace(
        item,
        high=item.last,
        low=item.last,
        close=item.last,
        variance=variance,
        regime=level,
        hours_below=below,
    )


def _thresholds(group: str, model: Regime) -> tuple[float, ...]:
    return {"btc": model.thresholds.btc, "eth": model.thresholds.eth}.get(group, ())


def _level(variance: float, group: str, model: Regime) -> int:
    level = annual(math.sqrt(variance))
    return sum(level >= threshold for threshold in _thresholds(group, model))


def _next_regime(item: FactorMemory, variance: float, group: str, model: Regime) -> tuple[int, int]:
    """Rise at once; fall only after `leave_hours` below `leave_below` of the regime's own threshold."""
    thresholds = _thresholds(group, model)
    level = _level(variance, group, model)
    if level >= item.regime or not thresholds:
        return level, 0
    below = annual(math.sqrt(variance)) < model.leave_below * thresholds[item.regime - 1]
    hours = item.hours_below + 1 if below else 0
    return (level, 0) if hours >= model.leave_hours else (item.regime, hours)


def agreed_history(memory: MarketMemory, genesis: HourlyHistory, parameters: Parameters) -> HourlyHistory:
    """Return the hourly table as the engine reads it: genesis and closed hours, cut to what the blocks need.

    Raises:
        InvalidData: `genesis` is not the history the state began with.
    """
    if history_digest(genesis) != memory.genesis:
        raise InvalidData("the genesis history is not the one the state began with", code="foreign")
    wanted = parameters.volatility.warm_up_hours + parameters.paths.stride_hours * parameters.paths.maximum_blocks + 25
    cut = max(genesis.hours + memory.closed_hours - wanted, 0)
    columns = {name: _joined(getattr(genesis, name), getattr(memory, name), cut) for name in ("close", "high", "low")}
    return msgspec.structs.replace(genesis, first_hour=genesis.first_hour + HOUR * cut, **columns)


def _joined(before: Column, after: Column, cut: int) -> Column:
    whole = np.concatenate([view64(before), view64(after).T], axis=1)
    return column(whole[:, cut:], "int64")


def encode_state(memory: MarketMemory) -> bytes:
    """Return the whole state, canonical: what is stored with a report and sent to late joiners."""
    return encode_json(memory)


def commitment(memory: MarketMemory) -> bytes:
    """Return canonical bytes that bind the state for the report's state root; a few hundred bytes per factor."""
    none = column(np.zeros((0, len(memory.factors)), dtype=np.int64), "int64")
    head = msgspec.structs.replace(memory, close=none, high=none, low=none)
    return b"plimsoll/state/1\x00" + memory.closed_hours.to_bytes(8, "big") + encode_json(head)


def decode_state(document: bytes, *, what: str) -> MarketMemory:
    """Read a state and check its hours against their hash chain.

    Raises:
        InvalidData: malformed, or the hours are not those the chain binds.
    """
    memory = decode_json(document, MarketMemory, what=what)
    shape = (memory.closed_hours, len(memory.factors)) if len(memory.close.shape) == 2 else None
    if any(item.dtype != "int64" or item.shape != shape for item in (memory.close, memory.high, memory.low)):
        raise InvalidData(f"{what}: hour columns must be int64 (hours, factors)", code="malformed")
    digest = memory.genesis.to_bytes()
    table = np.stack([view64(memory.close), view64(memory.high), view64(memory.low)], axis=2)
    for record in np.ascontiguousarray(table):
        digest = hashlib.sha256(digest + record.tobytes()).digest()
    if digest != memory.hours_digest.to_bytes():
        raise InvalidData(f"{what}: the hours do not match their hash chain", code="malformed")
    return memory
