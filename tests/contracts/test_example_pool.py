"""The example consumer: who gets a loan, and what the refusal says."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from attest.formats.leaf import AccountLeaf, leaf_hash, subject_of
from contracts.calls import decode_result, encode_call, encode_deployment
from contracts.deployment import deploy
from riskschema.flags import Flag

pytestmark = pytest.mark.chain

Refuses = Callable[..., Any]
BORROWER, LENDER = 5, 6
DOLLAR = 10**6
MAX_AGE = 60
VENUES = 0b1011


class Pool:
    def __init__(self, oracle: Any, token_code: bytes) -> None:
        self.oracle, self.chain = oracle, oracle.chain
        self.token = deploy(self.chain.create_or_send, token_code)
        creation = encode_deployment("ExamplePool", oracle.contracts.oracle, self.token, 500, MAX_AGE, VENUES)
        self.address = deploy(self.chain.create_or_send, creation)
        for account in (BORROWER, LENDER):
            self.mint(account, 1_000_000 * DOLLAR)
            self._token("approve", self.address, 2**256 - 1, sender=account)

    def mint(self, account: int, amount: int) -> None:
        self._token("mint", self.chain.accounts[account], amount, sender=account)

    def _token(self, function: str, *arguments: Any, sender: int) -> None:
        signatures = {"mint": "40c10f19", "approve": "095ea7b3"}
        account, amount = arguments
        data = bytes.fromhex(signatures[function]) + subject_of(account) + amount.to_bytes(32, "big")
        self.chain.send(self.token, data, sender=sender)

    def balance(self, account: int) -> int:
        data = bytes.fromhex("70a08231") + subject_of(self.chain.accounts[account])
        return int.from_bytes(self.chain.call(self.token, data), "big")

    def do(self, function: str, *arguments: Any, sender: int = BORROWER) -> None:
        self.chain.send(self.address, encode_call("ExamplePool", function, *arguments), sender=sender)

    def debt(self, account: int) -> int:
        data = self.chain.call(self.address, encode_call("ExamplePool", "debts", self.chain.accounts[account]))
        return int(decode_result("ExamplePool", "debts", data)[0])


@pytest.fixture
def pool(oracle: Any, compiled: dict[str, Any]) -> Pool:
    pool = Pool(oracle, bytes.fromhex(compiled["DollarToken"]["bytecode"][2:]))
    pool.do("deposit", 500_000 * DOLLAR, sender=LENDER)
    return pool


def test_a_safe_account_borrows_and_repays(pool: Pool, account_leaf: AccountLeaf) -> None:
    proof = pool.oracle.publish_leaves(1, account_leaf)[account_leaf]
    before = pool.balance(BORROWER)
    pool.do("borrow", 1_000 * DOLLAR, 1, account_leaf, proof)
    assert pool.balance(BORROWER) == before + 1_000 * DOLLAR
    assert pool.debt(BORROWER) == 1_000 * DOLLAR
    pool.do("repay", 5_000 * DOLLAR)
    assert pool.debt(BORROWER) == 0
    assert pool.balance(BORROWER) == before


@pytest.mark.parametrize(("score", "lends"), [(499, True), (500, True), (501, False), (1000, False)])
def test_an_account_above_the_score_gets_no_loan(
    pool: Pool, refuses: Refuses, account_leaf: AccountLeaf, score: int, lends: bool
) -> None:
    leaf = msgspec.structs.replace(account_leaf, score=score)
    proof = pool.oracle.publish_leaves(1, leaf)[leaf]
    if lends:
        pool.do("borrow", DOLLAR, 1, leaf, proof)
    else:
        with refuses("ScoreTooHigh", score, 500):
            pool.do("borrow", DOLLAR, 1, leaf, proof)


def test_a_lower_score_cannot_be_claimed(pool: Pool, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    risky = msgspec.structs.replace(account_leaf, score=900)
    proof = pool.oracle.publish_leaves(1, risky)[risky]
    with refuses("ProofInvalid"):
        pool.do("borrow", DOLLAR, 1, account_leaf, proof)


def test_somebody_elses_assessment_gets_no_loan(pool: Pool, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    proof = pool.oracle.publish_leaves(1, account_leaf)[account_leaf]
    with refuses("NotYourAssessment"):
        pool.do("borrow", DOLLAR, 1, account_leaf, proof, sender=LENDER)


def test_an_unread_venue_gets_no_loan(pool: Pool, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    blind = msgspec.structs.replace(account_leaf, venue_coverage=0b1001)
    proof = pool.oracle.publish_leaves(1, blind)[blind]
    with refuses("CoverageMissing", 0b0010):
        pool.do("borrow", DOLLAR, 1, blind, proof)


def test_an_old_assessment_gets_no_loan(pool: Pool, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    header = pool.oracle.header(1, accounts_root=leaf_hash(account_leaf))
    pool.oracle.publish(pool.oracle.certify(header))
    pool.chain.anvil.mine_at(header.observed_at + MAX_AGE + 1)
    with refuses("TooOld", header.observed_at, MAX_AGE):
        pool.do("borrow", DOLLAR, 1, account_leaf, ())


def test_debt_never_exceeds_free_equity(pool: Pool, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    proof = pool.oracle.publish_leaves(1, account_leaf)[account_leaf]
    with refuses("FreeEquityTooLow", 40_000_00000000, 40_000_00000100):
        pool.do("borrow", 40_000 * DOLLAR + 1, 1, account_leaf, proof)
    pool.do("borrow", 40_000 * DOLLAR, 1, account_leaf, proof)
    with refuses("FreeEquityTooLow", 40_000_00000000, 80_000_00000100):
        pool.do("borrow", 1, 1, account_leaf, proof)


def test_what_is_finer_than_a_report_is_rounded_against_the_borrower(
    oracle: Any, compiled: dict[str, Any], refuses: Refuses, account_leaf: AccountLeaf
) -> None:
    """Amounts in a report have eight decimals, this token eighteen: one unit too much counts as 1e-8 dollars."""
    pool = Pool(oracle, bytes.fromhex(compiled["FineDollarToken"]["bytecode"][2:]))
    dollar = 10**18
    for account in (BORROWER, LENDER):
        pool.mint(account, 1_000_000 * dollar)
    pool.do("deposit", 500_000 * dollar, sender=LENDER)
    proof = oracle.publish_leaves(1, account_leaf)[account_leaf]
    with refuses("FreeEquityTooLow", 40_000_00000000, 40_000_00000001):
        pool.do("borrow", 40_000 * dollar + 1, 1, account_leaf, proof)
    pool.do("borrow", 1, 1, account_leaf, proof)
    with refuses("FreeEquityTooLow", 40_000_00000000, 40_000_00000001):
        pool.do("borrow", 40_000 * dollar - 1, 1, account_leaf, proof)
    pool.do("borrow", 40_000 * dollar - 2, 1, account_leaf, proof)


def test_a_loan_is_no_equity_for_the_next_loan(pool: Pool, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    """What was lent lies in the borrower's wallet, and the next assessment finds it there."""
    free = 40_000
    for round_number in range(1, 5):
        lent = pool.debt(BORROWER) * 100
        leaf = msgspec.structs.replace(account_leaf, equity=account_leaf.equity + lent)
        proof = pool.oracle.publish_leaves(round_number, leaf)[leaf]
        with refuses("FreeEquityTooLow"):
            pool.do("borrow", free * DOLLAR - pool.debt(BORROWER) + 1, round_number, leaf, proof)
        pool.do("borrow", free // 4 * DOLLAR, round_number, leaf, proof)
    assert pool.debt(BORROWER) == free * DOLLAR


@pytest.mark.parametrize("bit", [3, 5, 6])
def test_an_assessment_with_a_stale_missing_or_capped_figure_gets_no_loan(
    pool: Pool, refuses: Refuses, account_leaf: AccountLeaf, bit: int
) -> None:
    assert bit in (Flag.QUOTE_STALE.bit, Flag.UNPRICED.bit, Flag.SATURATED.bit)
    leaf = msgspec.structs.replace(account_leaf, flags=1 << bit | 1)
    proof = pool.oracle.publish_leaves(1, leaf)[leaf]
    with refuses("NeedsCaution", 1 << bit):
        pool.do("borrow", DOLLAR, 1, leaf, proof)


def test_a_pool_that_requires_no_venue_is_refused(pool: Pool, refuses: Refuses) -> None:
    creation = encode_deployment("ExamplePool", pool.oracle.contracts.oracle, pool.token, 500, MAX_AGE, 0)
    with refuses("NoVenueRequired"):
        deploy(pool.chain.create_or_send, creation)


def test_negative_equity_gets_no_loan(pool: Pool, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    under_water = msgspec.structs.replace(account_leaf, equity=-1)
    proof = pool.oracle.publish_leaves(1, under_water)[under_water]
    with refuses("FreeEquityTooLow"):
        pool.do("borrow", 0, 1, under_water, proof)


def test_the_pool_pays_out_only_what_it_has(pool: Pool, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    pool.do("withdraw", 499_990 * DOLLAR, sender=LENDER)
    proof = pool.oracle.publish_leaves(1, account_leaf)[account_leaf]
    with refuses("LiquidityMissing", 11 * DOLLAR, 10 * DOLLAR):
        pool.do("borrow", 11 * DOLLAR, 1, account_leaf, proof)
    with refuses("DepositTooSmall", 11 * DOLLAR, 10 * DOLLAR):
        pool.do("withdraw", 11 * DOLLAR, sender=LENDER)
