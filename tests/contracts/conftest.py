"""A bare chain with a committee's oracle on it, and the means to publish, verify and be refused."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from attest.encoding.keccak import keccak256
from attest.encoding.merkle import EMPTY_ROOT, MerkleTree, build_tree, prove
from attest.formats.certificate import Certificate
from attest.formats.committee import Committee, config_digest
from attest.formats.eip712 import Destination
from attest.formats.header import ReportHeader
from attest.formats.leaf import AccountLeaf, FeedLeaf, leaf_hash, subject_of
from attest.formats.quorums import byzantine
from contracts.calls import (
    Revert,
    decode_result,
    decode_revert,
    encode_call,
    publish_call,
    verify_account_call,
    verify_feed_call,
)
from contracts.compile import compile_contracts
from contracts.deployment import OracleContracts, deploy_oracle, initialize_oracle
from devnet.anvil import Anvil, run_anvil
from devnet.toolchain.packages import default_cache, find_anvil
from riskschema.units import Address
from tests.builders import reports

START = 1_800_000_000
CHAIN_ID = 31337
LIFE = 600
SKEW = 30
GUARDIAN = 9


class Refused(Exception):
    def __init__(self, revert: Revert) -> None:
        super().__init__(str(revert))
        self.revert = revert


@dataclass(frozen=True)
class BareChain:
    """The chain without an oracle: accounts, transactions, calls, time."""

    anvil: Anvil
    accounts: tuple[Address, ...]

    def send(self, to: Address | None, data: bytes, *, sender: int = 0, at: int | None = None) -> dict[str, Any]:
        if at is not None:
            self.anvil.rpc.request("evm_setNextBlockTimestamp", at)
        transaction = {"from": self.accounts[sender], "data": "0x" + data.hex(), "gas": hex(20_000_000)}
        if to is not None:
            transaction["to"] = to
        sent = self.anvil.rpc.request("eth_sendTransaction", transaction)
        while (receipt := self.anvil.rpc.request("eth_getTransactionReceipt", sent)) is None:
            time.sleep(0.002)
        if receipt["status"] != "0x1":
            self.call(to, data, sender=sender, block=receipt["blockNumber"])
            raise AssertionError("the transaction reverted but the call does not")
        return receipt

    def create_or_send(self, to: Address | None, data: bytes) -> Address | None:
        created = self.send(to, data).get("contractAddress")
        return Address(created) if created else None

    def call(self, to: Address | None, data: bytes, *, sender: int = 0, block: str = "latest") -> bytes:
        call = {"from": self.accounts[sender], "to": to, "data": "0x" + data.hex(), "gas": hex(20_000_000)}
        answer = self.anvil.rpc.answers([("eth_call", [call, block])])[0]
        if "error" in answer:
            raise Refused(decode_revert(bytes.fromhex(answer["error"].get("data", "0x")[2:])))
        return bytes.fromhex(answer["result"][2:])


@dataclass(frozen=True)
class OracleChain:
    """An initialised oracle, the keys of its committee, and reports for it."""

    chain: BareChain
    contracts: OracleContracts
    committee: Committee
    keys: tuple[bytes, ...]

    def header(self, round_number: int, **changes: Any) -> ReportHeader:
        """A header observed `round_number` seconds after the start."""
        plain: dict[str, Any] = {field: keccak256(field.encode()) for field in ReportHeader.__struct_fields__}
        plain |= {
            "config_digest": config_digest(self.committee),
            "round": round_number,
            "observed_at": START + round_number,
            "valid_until": START + round_number + LIFE,
            "accounts_root": EMPTY_ROOT,
            "feeds_root": EMPTY_ROOT,
        }
        plain |= dict.fromkeys(("model_version", "account_count", "feed_count", "coverage_ppm", "breaker_flags"), 1)
        return reports.header(**(plain | changes))

    def certify(
        self,
        header: ReportHeader,
        *,
        signers: Sequence[int] | None = None,
        destinations: Sequence[Destination] | None = None,
    ) -> Certificate:
        """A certificate by the first operators that make a quorum, unless told otherwise."""
        signers = range(byzantine(len(self.keys))) if signers is None else signers
        return reports.certificate(header, self.keys, destinations or self.committee.destinations, signers)

    def publish_now(self, certificate: Certificate) -> None:
        """Publish whenever the chain's clock says it is."""
        self.chain.send(self.contracts.oracle, publish_call(certificate))

    def publish(self, certificate: Certificate, *, at: int | None = None) -> dict[str, Any]:
        """Publish at a chain time, one second after the observation unless told otherwise."""
        moment = certificate.header.observed_at + 1 if at is None else at
        return self.chain.send(self.contracts.oracle, publish_call(certificate), at=moment)

    def publish_leaves(
        self, round_number: int, *leaves: AccountLeaf | FeedLeaf, **changes: Any
    ) -> dict[AccountLeaf | FeedLeaf, tuple[bytes, ...]]:
        """Publish a round that holds these leaves; return their proofs."""
        accounts = _tree(leaf for leaf in leaves if isinstance(leaf, AccountLeaf))
        feeds = _tree(leaf for leaf in leaves if isinstance(leaf, FeedLeaf))
        header = self.header(round_number, accounts_root=accounts.root, feeds_root=feeds.root, **changes)
        self.publish(self.certify(header))
        return {leaf: prove(accounts if isinstance(leaf, AccountLeaf) else feeds, leaf_hash(leaf)) for leaf in leaves}

    def verify_account(
        self, round_number: int, leaf: AccountLeaf, proof: tuple[bytes, ...], *, max_age: int = 3600, coverage: int = 0
    ) -> int:
        call = verify_account_call(
            round_number=round_number, leaf=leaf, proof=proof, max_age=max_age, min_coverage=coverage
        )
        data = self.chain.call(self.contracts.oracle, call)
        return int(decode_result("RiskOracle", "verifyAccount", data)[0])

    def verify_feed(self, round_number: int, leaf: FeedLeaf, proof: tuple[bytes, ...], *, max_age: int = 3600) -> int:
        call = verify_feed_call(round_number=round_number, leaf=leaf, proof=proof, max_age=max_age)
        return int(decode_result("RiskOracle", "verifyFeed", self.chain.call(self.contracts.oracle, call))[0])

    def read(self, function: str, *arguments: Any) -> tuple[Any, ...]:
        data = self.chain.call(self.contracts.oracle, encode_call("RiskOracle", function, *arguments))
        return decode_result("RiskOracle", function, data)


def _tree(leaves: Iterator[AccountLeaf | FeedLeaf]) -> MerkleTree:
    return build_tree([leaf_hash(leaf) for leaf in leaves])


def make_committee(keys: Sequence[bytes], destinations: Sequence[Destination]) -> Committee:
    return reports.committee(
        operators=reports.operators(keys),
        destinations=tuple(destinations),
        genesis_time=START,
        round_interval_seconds=1,
        report_life_seconds=LIFE,
    )


def operator_keys(count: int) -> tuple[bytes, ...]:
    return tuple(keccak256(f"operator {index}".encode()) for index in range(count))


@pytest.fixture(scope="session")
def _programs() -> None:
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        message = f"contracts need {' and '.join(missing)} on the PATH (Node.js 20 or newer)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="session")
def compiled(_programs: None) -> dict[str, dict[str, Any]]:
    """Our sources and the test contracts, compiled afresh."""
    return compile_contracts(cache=default_cache(), extra_sources=Path(__file__).parent / "solidity")


@pytest.fixture(scope="session")
def _anvil(_programs: None) -> Iterator[Anvil]:
    binary = find_anvil(cache=default_cache(), progress=print)
    with run_anvil(binary, chain_id=CHAIN_ID, genesis_timestamp=START - 1000) as anvil:
        yield anvil


@pytest.fixture
def bare_chain(_anvil: Anvil) -> Iterator[BareChain]:
    snapshot = _anvil.snapshot()
    yield BareChain(_anvil, tuple(Address(each) for each in _anvil.rpc.request("eth_accounts")))
    _anvil.revert(snapshot)


@pytest.fixture
def deploy_committee(bare_chain: BareChain) -> Callable[..., OracleChain]:
    """Return a function that deploys an oracle for a committee of n operators."""

    def deploy(
        operators: int, *, ring_size: int = 16, skew: int = SKEW, other_destinations: Sequence[Destination] = ()
    ) -> OracleChain:
        send = bare_chain.create_or_send
        contracts = deploy_oracle(send, initializer=bare_chain.accounts[0], ring_size=ring_size)
        destinations = (Destination(chain_id=CHAIN_ID, oracle=contracts.oracle), *other_destinations)
        keys = operator_keys(operators)
        committee = make_committee(keys, sorted(destinations, key=lambda each: (each.chain_id, each.oracle)))
        initialize_oracle(send, contracts, committee, max_future_skew=skew, guardian=bare_chain.accounts[GUARDIAN])
        return OracleChain(bare_chain, contracts, committee, keys)

    return deploy


@pytest.fixture
def oracle(deploy_committee: Callable[..., OracleChain]) -> OracleChain:
    """An oracle with a committee of seven, of which five are a quorum."""
    return deploy_committee(7)


@pytest.fixture
def account_leaf(bare_chain: BareChain) -> AccountLeaf:
    """A healthy account, read at venues 0, 1 and 3."""
    return reports.leaf(subject=subject_of(bare_chain.accounts[5]))


@pytest.fixture
def other_leaves(account_leaf: AccountLeaf) -> tuple[AccountLeaf, ...]:
    """Six more accounts, so that a proof has three steps."""
    return tuple(
        msgspec.structs.replace(account_leaf, subject=keccak256(bytes([index])), score=100 * index)
        for index in range(6)
    )


@pytest.fixture
def feed_leaf() -> FeedLeaf:
    return FeedLeaf(
        market=keccak256(b"WETH"), parameter=keccak256(b"liquidationThreshold"), value=8_250, confidence=25, impact=-50
    )


@pytest.fixture
def refuses() -> Callable[..., Any]:
    """Return a context manager that expects a revert by name, and optionally its arguments."""
    return _Refuses


class _Refuses:
    def __init__(self, name: str, *arguments: Any) -> None:
        self.name, self.arguments = name, arguments
        self._raises = pytest.raises(Refused)

    def __enter__(self) -> None:
        self.caught = self._raises.__enter__()

    def __exit__(self, *exception: Any) -> bool:
        suppressed = bool(self._raises.__exit__(*exception))
        assert self.caught.value.revert.name == self.name, self.caught.value.revert
        if self.arguments:
            assert self.caught.value.revert.arguments == self.arguments
        return suppressed
