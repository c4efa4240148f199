"""The transactions of one paying account: stored before they are broadcast, followed until nothing can undo them.

A transaction is stored before it is broadcast, so that after a crash the node knows every nonce it may have used:

    stored as pending ─► broadcast ─► landed ─► final
         ▲       ▲         │   │         │
         │       └─────────┘   │         └─► pending again, when a reorg took it out
         │   replaced, when it is stuck:     (reverted on-chain: failed)
         │   same nonce, higher fees
         └── abandoned, when its nonce was used by someone else
"""

from __future__ import annotations

import msgspec
import structlog

from node.publishing.sender import Receipt, Sender
from node.publishing.transactions import (
    Fees,
    Payload,
    most_cost,
    offered_fees,
    payload_of,
    replacing_fees,
    sign_transaction,
)
from riskschema.errors import TransientError
from riskschema.ports import Clock, Signer, Store
from riskschema.rounds import StoredTransaction
from riskschema.units import Hash32

GWEI = 10**9
ABANDON_DEPTH = 2
"""A nonce used by a foreign transaction counts once it is this deep: until then our receipt may just not be there."""

_log = structlog.get_logger("node.outbox")


class PublishLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What publishing may cost and how long it waits."""

    max_fee_per_gas: int
    """In wei; never exceeded, whatever the chain asks."""
    max_tip_per_gas: int = 5 * GWEI
    """In wei; the part of it that goes to the block's producer, whatever the endpoint suggests."""
    daily_budget: int = 10**18
    """In wei: what the transactions signed for the rounds of a day can cost at most."""
    rounds_per_day: int = 1_440
    max_gas: int = 3_000_000
    """Per transaction."""
    deadline: float = 60.0
    """Seconds that one `publish` waits for its transaction."""
    poll: float = 1.0
    """Seconds between looks at the chain."""
    replace_after: float = 30.0
    """Seconds after which a transaction counts as stuck."""
    confirmations: int = 1
    """Blocks, its own included, that a transaction needs to count as landed."""
    final_depth: int = 64
    """Blocks after which no reorg is expected any more."""


class Outbox:
    """The transactions of one account on one chain.

    Args:
        sender: The endpoint's view of the account.
        chain_id: The chain.
        config_digest:  that scopes the stored transactions.
        signer: Key of the account.
        store: Where transactions are kept before they are sent.
        clock: Time.
        limits: What publishing may cost and how long it waits.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        chain_id: int,
        config_digest: Hash32,
        signer: Signer,
        store: Store,
        clock: Clock,
        limits: PublishLimits,
    ) -> None:
        self._sender = sender
        self._chain_id = chain_id
        self._config_digest = config_digest
        self._signer = signer
        self._store = store
        self._clock = clock
        self._limits = limits
        self._broadcast_at: dict[int, float] = {}
        """When this process last sent the transaction of a nonce."""
        self._costs: dict[int, tuple[int, int]] | None = None
        """By nonce: the round, and the most that its transaction can cost; read from the store when first needed."""

    async def send(self, round_number: int, payload: Payload) -> None:
        """Sign a new transaction, store it, broadcast it.

        Raises:
            TransientError: the chain asks more than the cap, the day's budget is spent, or the endpoint failed; if it
                was stored, it is followed.
        """
        fees = await self._fees()
        nonce = await self._free_nonce()
        await self._require_budget(round_number, nonce, payload, fees)
        await self._store_and_broadcast(round_number, nonce, payload, fees, replaced=())

    async def follow_up(self) -> int:
        """Look after everything sent earlier: receipts, reorgs, stuck transactions; return the chain's height.

        Raises:
            TransientError: the endpoint failed; nothing is lost.
        """
        head = (await self._sender.head()).number
        unsettled = await self._store.pending_transactions(self._config_digest, self._chain_id, self._signer.address)
        if not unsettled:
            return head
        sent = [each for kept in unsettled for each in (kept.hash, *kept.replaced)]
        # a nonce that is used so far below the head must have its receipt, if the transaction was ours
        used, receipts = await self._sender.fate(sent, block=max(0, head - ABANDON_DEPTH))
        problems: list[TransientError] = []
        for kept in unsettled:
            receipt = next((receipts[each] for each in (kept.hash, *kept.replaced) if each in receipts), None)
            try:
                if receipt is not None:
                    await self._settle(kept, receipt, head)
                else:
                    await self._pursue(kept, nonce_used=used > kept.nonce)
            except TransientError as error:
                problems.append(error)  # one that cannot be sent must not keep the others waiting
        if problems:
            raise problems[0]
        return head

    async def _settle(self, kept: StoredTransaction, receipt: Receipt, head: int) -> None:
        """Keep what the receipt says, if it is news."""
        depth = head - receipt.block_number + 1
        landed = "final" if depth >= self._limits.final_depth else "landed"
        rivals = tuple(each for each in (*kept.replaced, kept.hash) if each != receipt.hash)
        settled = msgspec.structs.replace(
            kept,
            hash=receipt.hash,
            replaced=rivals,
            status=landed if receipt.succeeded else "failed",
            block_number=receipt.block_number,
            gas_used=receipt.gas_used,
        )
        if settled != kept:
            await self._store.put_transaction(settled)
            tell = _log.debug if receipt.succeeded else _log.warning
            tell(
                "transaction " + settled.status,
                chain_id=self._chain_id,
                round=kept.round,
                nonce=kept.nonce,
                hash=str(receipt.hash),
            )
        self._broadcast_at.pop(kept.nonce, None)

    async def _pursue(self, kept: StoredTransaction, *, nonce_used: bool) -> None:
        """Bring a transaction without receipt onto the chain: send it again, or replace it when it is stuck."""
        if kept.status == "landed":
            _log.warning(
                "transaction reorganised away",
                chain_id=self._chain_id,
                round=kept.round,
                nonce=kept.nonce,
                hash=str(kept.hash),
            )
            kept = msgspec.structs.replace(kept, status="pending", block_number=None, gas_used=None)
            await self._store.put_transaction(kept)
        elif nonce_used:
            _log.warning(
                "nonce used by a foreign transaction", chain_id=self._chain_id, round=kept.round, nonce=kept.nonce
            )
            await self._store.put_transaction(msgspec.structs.replace(kept, status="abandoned"))
            return
        sent_at = self._broadcast_at.get(kept.nonce)
        if sent_at is None:
            await self._broadcast(kept)
        elif self._clock.now() - sent_at >= self._limits.replace_after:
            await self._replace(kept)

    async def _replace(self, kept: StoredTransaction) -> None:
        """Offer more for the same nonce; where cap or budget forbids it, remind the endpoint of the old offer."""
        previous = Fees(max_fee=kept.max_fee_per_gas, max_priority_fee=kept.max_priority_fee_per_gas)
        caps = self._limits
        fees = replacing_fees(previous, await self._fees(), cap=caps.max_fee_per_gas, tip_cap=caps.max_tip_per_gas)
        if fees is None:
            await self._broadcast(kept)
            return
        try:
            await self._require_budget(kept.round, kept.nonce, payload_of(kept.raw), fees)
        except TransientError:
            await self._broadcast(kept)  # the old offer is within the budget: it must not be forgotten meanwhile
            raise
        _log.info(
            "transaction replaced",
            chain_id=self._chain_id,
            round=kept.round,
            nonce=kept.nonce,
            max_fee_per_gas=fees.max_fee,
        )
        replaced = (*kept.replaced, kept.hash)
        await self._store_and_broadcast(kept.round, kept.nonce, payload_of(kept.raw), fees, replaced=replaced)

    async def _store_and_broadcast(
        self, round_number: int, nonce: int, payload: Payload, fees: Fees, *, replaced: tuple[Hash32, ...]
    ) -> None:
        signed = sign_transaction(self._chain_id, nonce, payload, fees, self._signer)
        transaction = StoredTransaction(
            config_digest=self._config_digest,
            chain_id=self._chain_id,
            sender=self._signer.address,
            nonce=nonce,
            round=round_number,
            raw=signed.raw,
            hash=signed.hash,
            replaced=replaced,
            max_fee_per_gas=fees.max_fee,
            max_priority_fee_per_gas=fees.max_priority_fee,
            status="pending",
            block_number=None,
            gas_used=None,
        )
        await self._store.put_transaction(transaction)
        if self._costs is not None:
            known_round, known_cost = self._costs.get(nonce, (0, 0))
            self._costs[nonce] = (max(known_round, round_number), max(known_cost, payload.gas * fees.max_fee))
        await self._broadcast(transaction)

    async def _broadcast(self, transaction: StoredTransaction) -> None:
        await self._sender.broadcast(transaction.raw)
        self._broadcast_at[transaction.nonce] = self._clock.now()

    async def _fees(self) -> Fees:
        """Return what to offer now.

        Raises:
            TransientError: the chain asks more than the cap: sending would only block the nonce.
        """
        base_fee, tip = await self._sender.gas_prices()
        cap = self._limits.max_fee_per_gas
        if base_fee > cap:
            raise TransientError(
                f"chain {self._chain_id} asks {base_fee / GWEI:.3f} gwei per gas, the cap is {cap / GWEI:.3f}: "
                "wait, or raise max_fee_gwei",
                code="publish_late",
            )
        return offered_fees(base_fee=base_fee, tip=tip, cap=cap, tip_cap=self._limits.max_tip_per_gas)

    async def _require_budget(self, round_number: int, nonce: int, payload: Payload, fees: Fees) -> None:
        """Check that a day's transactions, this one included, cannot cost more than the budget.

        What is signed counts, not what an endpoint says it cost: receipts can lie too. Of the transactions of one nonce
        the dearest counts: one of them can land, and which one an endpoint may hide.

        Raises:
            TransientError: they could.
        """
        first = round_number - self._limits.rounds_per_day + 1
        if self._costs is None:
            sent = await self._store.sent_transactions(
                self._config_digest, self._chain_id, self._signer.address, from_round=first
            )
            self._costs = {kept.nonce: (kept.round, most_cost(kept.raw, kept.max_fee_per_gas)) for kept in sent}
        self._costs = {other: cost for other, cost in self._costs.items() if cost[0] >= first}
        spent = sum(cost for other, (_, cost) in self._costs.items() if other != nonce)
        wanted = payload.gas * fees.max_fee
        if spent + wanted > self._limits.daily_budget:
            raise TransientError(
                f"the transactions of a day may cost {spent / GWEI:.0f} gwei on chain {self._chain_id}, another one "
                f"{wanted / GWEI:.0f}, the budget is {self._limits.daily_budget / GWEI:.0f}: publishing pauses until "
                "older ones leave the day; see what the endpoint makes you pay, or raise daily_budget_gwei",
                code="budget_spent",
            )

    async def _free_nonce(self) -> int:
        """Return the lowest nonce that is neither in the chain nor ours: a gap would hold up all above it for good."""
        unsettled = await self._store.pending_transactions(self._config_digest, self._chain_id, self._signer.address)
        taken = {kept.nonce for kept in unsettled}
        nonce = await self._sender.next_nonce()
        while nonce in taken:
            nonce += 1
        return nonce
