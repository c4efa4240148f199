"""Publishing to one chain: each round at most once, within a fee cap and a deadline, whatever crashes in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from adapters.chains import EndpointOptions, open_chain
from node.publishing.outbox import Outbox, PublishLimits
from node.publishing.sender import ExplainRevert, Sender
from node.publishing.transactions import Payload, least_gas
from riskschema.errors import InvalidData, TransientError
from riskschema.ports import Clock, PublishedTransaction, Signer, Store
from riskschema.rounds import StoredTransaction
from riskschema.units import Address, Hash32

MAX_ANSWER_BYTES = 4 * 1024 * 1024
ATTEMPTS = 3
"""Times that all endpoints are tried within one step."""
FAILURES_PER_ROUND = 2
FOR_A_PERSON = ("budget_spent", "transmitter_unfunded")
"""What waiting for the deadline does not mend."""


@asynccontextmanager
async def open_sender(
    *,
    endpoints: Sequence[EndpointOptions],
    chain_id: int,
    address: Address,
    explain: ExplainRevert,
    genesis_hash: Hash32 | None,
    timeout_seconds: float,
) -> AsyncIterator[Sender]:
    """Open one account's view of a chain, after checking that an endpoint serves it.

    Raises:
        FatalError: they serve another chain.
        TransientError: none can be reached.
    """
    async with open_chain(
        endpoints=endpoints,
        chain_id=chain_id,
        agreement=1,
        genesis_hash=genesis_hash,
        timeout_seconds=timeout_seconds,
        attempts=ATTEMPTS,
        max_answer_bytes=MAX_ANSWER_BYTES,
    ) as chain:
        yield Sender(chain.relay(), chain_id=chain_id, address=address, explain=explain)


@asynccontextmanager
async def open_publisher(
    *,
    endpoints: Sequence[EndpointOptions],
    chain_id: int,
    config_digest: Hash32,
    signer: Signer,
    store: Store,
    clock: Clock,
    explain: ExplainRevert,
    limits: PublishLimits,
    genesis_hash: Hash32 | None = None,
    timeout_seconds: float = 10.0,
) -> AsyncIterator[ChainPublisher]:
    """Open the publisher of one chain, after checking that an endpoint serves it.

    Args:
        endpoints: Those to send by, own ones first: the next takes over where one fails.
        chain_id: The chain id it must serve.
        config_digest: Of the network, that scopes the stored transactions.
        signer: Key of the account that pays.
        store: Where transactions are kept before they are sent.
        clock: Time.
        explain: Puts the bytes of a revert into words.
        limits: What it may cost and how long it waits.
        genesis_hash: Checked unless None.
        timeout_seconds: For one request.

    Raises:
        FatalError: they serve another chain.
        TransientError: none can be reached.
    """
    async with open_sender(
        endpoints=endpoints,
        chain_id=chain_id,
        address=signer.address,
        explain=explain,
        genesis_hash=genesis_hash,
        timeout_seconds=timeout_seconds,
    ) as sender:
        outbox = Outbox(
            sender,
            chain_id=chain_id,
            config_digest=config_digest,
            signer=signer,
            store=store,
            clock=clock,
            limits=limits,
        )
        yield ChainPublisher(
            outbox, sender, chain_id=chain_id, config_digest=config_digest, store=store, clock=clock, limits=limits
        )


class ChainPublisher:
    """`riskschema.ports.Publisher` of one chain, one paying account and one destination; made by `open_publisher`."""

    def __init__(
        self,
        outbox: Outbox,
        sender: Sender,
        *,
        chain_id: int,
        config_digest: Hash32,
        store: Store,
        clock: Clock,
        limits: PublishLimits,
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._chain_id = chain_id
        self._config_digest = config_digest
        self._store = store
        self._clock = clock
        self._limits = limits
        self._turn = asyncio.Lock()

    async def check(self, to: Address) -> None:
        """Look before the first round whether there is a contract, and anything to pay with.

        Raises:
            InvalidData: there is no contract: a transaction would land and do nothing.
            TransientError: the account has nothing, or the endpoint failed.
        """
        if not await self._sender.has_code(to):
            raise InvalidData(
                f"publish.oracle: there is no contract at {to} on chain {self._chain_id}: make one with "
                "`plimsoll deploy`, or correct [publish] and the committee file",
                code="no_code",
            )
        if await self._sender.balance() == 0:
            raise TransientError(
                f"the transmitter account {self._sender.address} on chain {self._chain_id} has nothing to pay with: "
                "send it some of the chain's own coin",
                code="transmitter_unfunded",
            )

    async def publish(self, *, round_number: int, to: Address, data: bytes) -> PublishedTransaction:
        """Send and wait for the receipt; a round that has landed is not sent again.

        Raises:
            TransientError: it did not land before the deadline (it may still), the day's budget is spent, or the
                account cannot pay.
            InvalidData: the contract refused it, with the contract's reason.
        """
        async with self._turn:
            begun = self._clock.now()
            attempt = _Attempt(round_number=round_number, to=to, data=data)
            while True:
                begun = min(begun, self._clock.now())  # one wrong reading must not keep it waiting for a year
                deadline = begun + self._limits.deadline
                try:
                    async with asyncio.timeout(deadline - self._clock.now()):  # it is safe to be stopped anywhere
                        landed = await self._advance(attempt)
                    if landed is not None:
                        return landed
                except TransientError as error:
                    if error.code in FOR_A_PERSON:
                        raise
                    attempt.problem = error
                except TimeoutError:
                    attempt.problem = attempt.problem or _slow(self._sender.where)
                wake = self._clock.now() + self._limits.poll
                if wake + self._limits.poll >= deadline:  # a step cut short would be blamed on the endpoint
                    raise self._late(attempt) from attempt.problem
                await self._clock.sleep_until(min(wake, self._clock.now() + self._limits.poll))

    async def read(self, to: Address, data: bytes) -> bytes:
        """Return what a view function answers at the newest block.

        Raises:
            TransientError: the endpoint failed, or the contract refuses.
        """
        return await self._sender.read(to, data)

    async def follow_up(self) -> None:
        """Look after what was sent earlier: receipts, reorgs, stuck transactions.

        Raises:
            TransientError: the endpoint failed; nothing is lost.
        """
        async with self._turn:
            await self._outbox.follow_up()

    async def _advance(self, attempt: _Attempt) -> PublishedTransaction | None:
        """Take the next step; return the transaction once it has landed."""
        older: TransientError | None = None
        try:
            head = await self._outbox.follow_up()
        except TransientError as error:
            older = error  # an older transaction in trouble is no reason to hold back this one
            head = (await self._sender.head()).number
        kept = await self._store.round_transaction(self._config_digest, self._chain_id, attempt.round_number)
        if kept is None or kept.status in {"failed", "abandoned"}:
            await self._send(attempt, kept)
        elif kept.block_number is not None and head - kept.block_number + 1 >= self._limits.confirmations:
            return PublishedTransaction(
                chain_id=self._chain_id, hash=kept.hash, block_number=kept.block_number, gas_used=kept.gas_used or 0
            )
        attempt.problem = older
        return None

    async def _send(self, attempt: _Attempt, kept: StoredTransaction | None) -> None:
        """Simulate, store, broadcast."""
        if kept is not None:
            attempt.lost_nonces.add(kept.nonce)
        needed = await self._sender.simulate(attempt.to, attempt.data, max_gas=self._limits.max_gas)
        if len(attempt.lost_nonces) >= FAILURES_PER_ROUND:
            raise InvalidData(
                f"round {attempt.round_number} failed {FAILURES_PER_ROUND} times on chain {self._chain_id} although "
                f"its simulation passes: examine the destination {attempt.to}, the endpoint, and whether another "
                f"program uses the account {self._sender.address}",
                code="publish_refused",
            )
        # the estimate misses what a failing inner call burns where the contract goes on; with less than the least no
        # block would ever take the transaction, and its nonce would hold up the account
        gas = min(self._limits.max_gas, max(needed + needed // 4 + 20_000, least_gas(attempt.data)))
        await self._outbox.send(attempt.round_number, Payload(to=attempt.to, data=attempt.data, gas=gas))

    def _late(self, attempt: _Attempt) -> TransientError:
        why = f": {attempt.problem.message}" if attempt.problem else ""
        return TransientError(
            f"round {attempt.round_number} has not landed on chain {self._chain_id} within "
            f"{self._limits.deadline:g} s; it is followed up{why}",
            code="publish_late",
        )


def _slow(where: str) -> TransientError:
    return TransientError(f"{where}: no answer in time", code="endpoint_unreachable")


@dataclass(kw_only=True)
class _Attempt:
    """One call of `publish` under way."""

    round_number: int
    to: Address
    data: bytes
    lost_nonces: set[int] = field(default_factory=set)
    """Of transactions that failed on-chain, or whose nonce someone else used."""
    problem: TransientError | None = None
