"""Accounts of certified rounds, assessed again from what the node's database keeps of the round."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from aggregator.parameters import Parameters
from attest.agreement.state_format import decode_state
from node.explaining.sentences import sentences
from node.round.hourly_prices import HourlyPrices
from riskschema.assessment import Assessment, Improvement
from riskschema.market import AgreedMarket, FactorQuote, HourlyHistory, MarketState
from riskschema.portfolio import Portfolio
from riskschema.ports import Store
from riskschema.rounds import StoredReport

Models = Callable[[], tuple[HourlyHistory, Parameters]]

LOADING_SECONDS = 5.0
"""How long who asks first waits for the engine, whose loading goes on whatever becomes of them."""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of an account besides its assessment."""

    sentences: tuple[str, ...]
    improvements: tuple[Improvement, ...]


class RecordedRounds:
    """Assesses accounts again, one at a time.

    Args:
        store: Read only.
        genesis_root: The hash of the committee's genesis history.
        load: Reads that history and the parameter file; called, in a thread, when the first account is asked for.
    """

    def __init__(self, store: Store, genesis_root: bytes, load: Models) -> None:
        self._store = store
        self._genesis_root = genesis_root
        self._load = load
        self._loading: asyncio.Task[tuple[HourlyPrices, Parameters]] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def ready(self) -> bool:
        """Return whether accounts can be assessed; load what that takes, and wait some seconds for it.

        A process that nobody asks never loads the engine. Raises what `explain` raises.
        """
        loading = self._models()
        await asyncio.wait({loading}, timeout=LOADING_SECONDS)
        return loading.done() and loading.result() is not None

    async def explain(
        self, report: StoredReport, portfolio: Portfolio, kept: Assessment, agreed: AgreedMarket
    ) -> Explained | None:
        """Return what `plimsoll explain` says of an account; None where the assessment comes out another.

        A round that another version or parameter file computed is not explained with these.

        Args:
            report: The round's.
            portfolio: The account's, as it was read.
            kept: Its assessment.
            agreed: The round's market.

        Raises:
            PlimsollError: history, parameters or hours cannot be read.
        """
        async with self._one_at_a_time:
            market = await self.market(report, agreed)
            _, parameters = await asyncio.shield(self._models())
            from aggregator.improvement import improvements  # noqa: PLC0415 - `_load` has imported it, in a thread

            found, changes = await asyncio.to_thread(improvements, portfolio, market, parameters)
        if found != kept:
            return None
        return Explained(sentences=tuple(sentences(found, changes, portfolio)), improvements=changes)

    async def market(self, report: StoredReport, agreed: AgreedMarket) -> MarketState:
        """Return the market state that the round's accounts were assessed in.

        Raises:
            PlimsollError: history or hours cannot be read.
        """
        hourly, _ = await asyncio.shield(self._models())
        memory = decode_state(report.state).hours
        hourly.load(await self._store.hours(report.config_digest), memory)
        return market_of(agreed, hourly.at(memory))

    def _models(self) -> asyncio.Task[tuple[HourlyPrices, Parameters]]:
        """Return the one loading, begun anew where it failed."""
        failed = self._loading is not None and self._loading.done() and self._loading.exception() is not None
        if self._loading is None or failed:
            self._loading = asyncio.create_task(asyncio.to_thread(self._enter))
        return self._loading

    def _enter(self) -> tuple[HourlyPrices, Parameters]:
        from aggregator import improvement, warm_up  # noqa: F401, PLC0415 - most serving processes never need it

        history, parameters = self._load()
        warm_up.enter_every_kernel(parameters)
        return HourlyPrices(history, self._genesis_root, parameters.history_window_hours), parameters


def market_of(agreed: AgreedMarket, history: HourlyHistory) -> MarketState:
    """Return a round's market state from its stored prices and the hours it knew."""
    return MarketState(
        as_of=agreed.as_of,
        quotes=tuple(
            FactorQuote(
                factor=each.factor, price=each.price, confidence=each.confidence, group=each.group, stale=each.stale
            )
            for each in agreed.prices
        ),
        history=history,
    )
