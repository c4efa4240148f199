"""The edges of the system as small protocols, in the order of the round. Each has one real home and one fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from riskschema.holders import Book, Fold, Holder, Known, Log, LogQuery, Units
from riskschema.instruments import FactorId, VenueId
from riskschema.market import MarketReading
from riskschema.portfolio import BlockReference, VenueReading
from riskschema.rounds import (
    StoredAccount,
    StoredEvidence,
    StoredHour,
    StoredMessage,
    StoredReport,
    StoredTransaction,
    StoreSize,
)
from riskschema.units import Address, Hash32

R = TypeVar("R")


class Clock(Protocol):
    """Time, injected."""

    def now(self) -> float:
        """Return Unix time in seconds."""
        ...

    async def sleep_until(self, timestamp: float) -> None:
        """Wait until `timestamp`."""
        ...


CALL_GAS = 16_000_000
"""Gas of a call: the same on all nodes, so that running out of it is a fact; below every client's own cap and the 2^24
of EIP-7825."""


class Call(msgspec.Struct, frozen=True):
    """A contract call: target, ABI-encoded data, and how much gas it may use."""

    to: Address
    data: bytes
    gas: int = CALL_GAS


class CallSuccess(msgspec.Struct, frozen=True):
    """A call returned (possibly nothing: there may be no code)."""

    data: bytes


class CallReverted(msgspec.Struct, frozen=True):
    """A call reverted at the pinned block: a fact that all nodes see alike."""

    data: bytes
    message: str


CallResult = CallSuccess | CallReverted


class PinnedReader(Protocol):
    """Reads of one chain at one block hash. A failure of the endpoint raises; a revert is a value."""

    @property
    def block(self) -> BlockReference:
        """The pinned block."""
        ...

    @property
    def where(self) -> str:
        """Whose word it is: the endpoints by their origins."""
        ...

    @property
    def witnesses(self) -> int:
        """How many endpoints gave each answer alike."""
        ...

    def confirming(self) -> PinnedReader | None:
        """Return a reader of the same block whose every answer two endpoints gave; None where there is only one."""
        ...

    async def has_code(self, addresses: Sequence[Address]) -> tuple[bool, ...]:
        """Tell at which addresses there is a contract."""
        ...

    async def call(self, calls: Sequence[Call]) -> tuple[CallResult, ...]:
        """Run `calls` at the pinned block; results in the same order.

        Raises:
            TransientError: the endpoint failed after retries, or no longer knows the block (a reorg).
            InvalidData: the endpoint answered nonsense.
        """
        ...

    async def native_balances(self, accounts: Sequence[Address]) -> tuple[int, ...]:
        """Return each account's balance of the chain's own coin, in wei."""
        ...

    async def logs(
        self,
        *,
        addresses: Sequence[Address],
        topics: Sequence[Sequence[Hash32]],
        from_block: int,
        to_block: int | None = None,
    ) -> tuple[Log, ...]:
        """Return the logs of `addresses` from `from_block` to `to_block`, in the order of the chain.

        Args:
            addresses: Emitting contracts.
            topics: Per topic position the accepted values (empty: any).
            from_block: First block, included.
            to_block: Last block, included; the pinned one, or before it. None: the pinned one.
        """
        ...


class ChainReader(Protocol):
    """One chain through one or more endpoints."""

    @property
    def chain_id(self) -> int:
        """The chain id, checked against the endpoint."""
        ...

    async def head(self) -> BlockReference:
        """Return the newest block of the configured finality."""
        ...

    async def block(self, number: int) -> BlockReference:
        """Return the block at `number`."""
        ...

    async def pin(self, block: BlockReference) -> PinnedReader:
        """Return a reader of `block`.

        Raises:
            TransientError: the endpoint does not know the block hash (yet, or since a reorg).
        """
        ...


class ProtocolAdapter(Protocol):
    """Pure translation between one deployment of one protocol and the schema; the reader does the I/O."""

    @property
    def venue(self) -> VenueId:
        """The deployment's name; it begins with the protocol's, which is the file's: ``aave_v3:1:0x2f39…``."""
        ...

    def log_query(self, known: Known) -> LogQuery:
        """Return which logs are needed, given what earlier logs said; without addresses: none.

        Pure. What is known only grows, and so do the addresses; the topics never change. Folding the `naming` ones
        alone gives what folding all makes known.
        """
        ...

    def fold(self, known: Known, logs: Sequence[Log]) -> Fold:
        """Return what logs say: what is known after them, and whose holdings they touch.

        Pure; folding two runs of logs one after the other is folding both together. A log that means nothing here is
        passed over.

        Args:
            known: After the logs before.
            logs: In the order of the chain.
        """
        ...

    async def books(self, reader: PinnedReader, known: Known) -> tuple[Book, ...]:
        """Return the venue's books at the pinned block: their totals, and what a unit is worth."""
        ...

    async def holdings(self, reader: PinnedReader, known: Known, holders: Sequence[Holder]) -> tuple[int | None, ...]:
        """Return the units of each holder at the pinned block; None where the contract refuses to tell."""
        ...

    async def read(
        self, reader: PinnedReader, accounts: Sequence[Address], indexed: Units | None = None
    ) -> VenueReading:
        """Read the silos of `accounts`; what the contracts refuse to tell is in `unread`.

        Args:
            reader: At the pinned block.
            accounts: Any.
            indexed: What the index says that all holders have at that block, of books whose contracts tell it; where
                there are totals the sums equal them. It need not be asked again, and the result is the same without.
        """
        ...


class MarketSource(Protocol):
    """One source of current factor values."""

    @property
    def name(self) -> str:
        """What the provenance of a quote says."""
        ...

    @property
    def factors(self) -> frozenset[FactorId]:
        """What it is asked for."""
        ...

    async def read(self) -> MarketReading:
        """Read all factors now; one without a usable value is `unquoted` and costs the others nothing.

        Raises:
            TransientError: the source did not answer at all.
            InvalidData: it answered nonsense.
        """
        ...


class Signer(Protocol):
    """One key for one purpose; the private part never leaves it."""

    @property
    def address(self) -> Address:
        """The EVM address of the key."""
        ...

    def sign(self, digest: bytes) -> bytes:
        """Return r ‖ s ‖ v (65 bytes, low s, v 27 or 28) over a 32-byte digest."""
        ...


class Executor(Protocol):
    """Where heavy, pure work runs so that the event loop stays free."""

    async def run(self, function: Callable[..., R], *arguments: object) -> R:
        """Run `function(*arguments)` elsewhere and return its result."""
        ...


class PublishedTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A landed transaction."""

    chain_id: int
    hash: Hash32
    block_number: int
    gas_used: int


class Publisher(Protocol):
    """Sends one call to a destination contract and watches it land."""

    async def publish(self, *, round_number: int, to: Address, data: bytes) -> PublishedTransaction:
        """Send and wait for the receipt.

        Raises:
            TransientError: it did not land before the deadline (it may still).
            InvalidData: the contract refused it, with the contract's reason.
        """
        ...

    async def read(self, to: Address, data: bytes) -> bytes:
        """Return what a view function of a contract answers at the newest block.

        Raises:
            TransientError: the endpoint failed, or the contract refuses.
        """
        ...


class Store(Protocol):
    """What must survive a crash. Every method is one transaction."""

    async def put_message(self, config_digest: Hash32, message: StoredMessage) -> StoredMessage:
        """Keep `message` unless one of the same (round, kind, sender) exists; return the one that is kept."""
        ...

    async def messages(self, config_digest: Hash32, round_number: int) -> tuple[StoredMessage, ...]:
        """Return the messages of a round in the order they were kept."""
        ...

    async def put_report(
        self,
        report: StoredReport,
        accounts: Sequence[StoredAccount],
        market: bytes | None = None,
        reading: bytes | None = None,
    ) -> None:
        """Keep a report with its accounts and the agreed market, all or nothing; the same report again changes nothing.

        Args:
            report: The report.
            accounts: In any order, one per subject.
            market: JSON of the `AgreedMarket`.
            reading: JSON of the `RoundReading`.

        Raises:
            FatalError: another report of the same round is kept already.
        """
        ...

    async def certify(self, report: StoredReport) -> None:
        """Keep a certified report: with this node's own, if it computed the same, else beside it, without accounts.

        A certificate kept already stays.

        Args:
            report: With its certificate.
        """
        ...

    async def report(self, config_digest: Hash32, round_number: int) -> StoredReport | None:
        """Return the report that this node computed for a round."""
        ...

    async def report_of(self, config_digest: Hash32, round_number: int, report_hash: Hash32) -> StoredReport | None:
        """Return a report by its hash: computed here, or taken over because a quorum certified it."""
        ...

    async def latest_certified(self, config_digest: Hash32) -> StoredReport | None:
        """Return the certified report of the highest round among those that this node computed: with accounts."""
        ...

    async def latest_adopted(self, config_digest: Hash32) -> StoredReport | None:
        """Return the certified report of the highest round, computed here or not: what the next builds on."""
        ...

    async def put_evidence(self, config_digest: Hash32, evidence: StoredEvidence) -> None:
        """Keep two contradicting messages; of one sender, round and kind the first two stay."""
        ...

    async def evidence(self, config_digest: Hash32) -> tuple[StoredEvidence, ...]:
        """Return the kept evidence, by round, kind and sender."""
        ...

    async def market(self, config_digest: Hash32, round_number: int) -> bytes | None:
        """Return the JSON of a round's `AgreedMarket`; None: no such round, or its version did not store it."""
        ...

    async def reading(self, config_digest: Hash32, round_number: int) -> bytes | None:
        """Return the JSON of a round's `RoundReading`; None: no such round, or its version did not store it."""
        ...

    async def account(self, config_digest: Hash32, round_number: int, subject: Address) -> StoredAccount | None:
        """Return one account of a report."""
        ...

    async def accounts(
        self, config_digest: Hash32, round_number: int, *, after: Address | None = None, limit: int | None = None
    ) -> tuple[StoredAccount, ...]:
        """Return the accounts of a report, by subject.

        Args:
            config_digest: Whose report.
            round_number: Of the report.
            after: Only subjects above this one, which need not exist: the last of the page before.
            limit: At most so many, from 1; None: all.
        """
        ...

    async def put_hours(self, config_digest: Hash32, hours: Sequence[StoredHour]) -> None:
        """Keep completed hours; one that is kept already is replaced.

        A report that is never certified may have closed an hour with another price than the one that is.
        """
        ...

    async def hours(self, config_digest: Hash32) -> tuple[StoredHour, ...]:
        """Return the kept hours, oldest first."""
        ...

    async def put_transaction(self, transaction: StoredTransaction) -> None:
        """Insert or replace a transaction of (config_digest, chain, sender, nonce)."""
        ...

    async def pending_transactions(
        self, config_digest: Hash32, chain_id: int, sender: Address
    ) -> tuple[StoredTransaction, ...]:
        """Return the transactions that are pending, or landed but not final, by nonce."""
        ...

    async def sent_transactions(
        self, config_digest: Hash32, chain_id: int, sender: Address, *, from_round: int
    ) -> tuple[StoredTransaction, ...]:
        """Return all transactions for rounds from `from_round` on, whatever became of them, by nonce."""
        ...

    async def round_transaction(
        self, config_digest: Hash32, chain_id: int, round_number: int
    ) -> StoredTransaction | None:
        """Return the transaction of the highest nonce that publishes a round on a chain."""
        ...

    async def prune(
        self, config_digest: Hash32, *, below_round: int, at_most: int = 256, transactions_below: int | None = None
    ) -> int:
        """Delete the oldest rounds below `below_round` (never the latest certified); return how many.

        One call deletes at most so many rounds: a return of 0 says that nothing is left to delete. Transactions that
        are not settled stay, and those of `transactions_below` and later rounds, where that is given.
        """
        ...

    async def config_digests(self) -> tuple[Hash32, ...]:
        """Return the digests of which reports are kept: that of an earlier committee stays when a new one begins."""
        ...

    async def size(self) -> StoreSize:
        """Return what the store takes on the disk."""
        ...


class IndexedAsset(msgspec.Struct, frozen=True, kw_only=True):
    """A token that is an index of another, which a contract knows: ``stEthPerToken()``."""

    factor: FactorId
    """The token's own."""
    underlying: FactorId
    """What the index counts."""
    function: str
    """A view function without arguments that answers the index with 18 decimals."""
    contract: Address | None = None
    """Whose function; None: the token's own."""


AssetFactors = Mapping[Address, FactorId | IndexedAsset]
"""What each token of a chain follows; tokens nobody mapped get their CAIP-19 id and have no quote."""
